"""vLLM as a child process that leaves no orphan.

vLLM's engine core survives the sudden death of its API server (vLLM issue 55510). So the server leads a process group
of its own; the agent adopts what it leaves behind and kills the group; and an agent that died suddenly leaves a note
by which the next one finds the group.
"""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

from app.processes import die_with_parent

log = structlog.get_logger()

_OURS = ("vllm", "multiprocessing")  # in the command line or the title of every process of a group


class VllmProcess:
    """One start of vLLM: the API server and whatever it starts."""

    def __init__(self, child: asyncio.subprocess.Process, note: Path) -> None:
        self._child = child
        self._note = note

    @classmethod
    async def start(cls, command: Sequence[str], env: Mapping[str, str], note: Path) -> "VllmProcess":
        """Start vLLM in a process group of its own and note down which."""
        child = await asyncio.create_subprocess_exec(
            *command, env=env, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_agent
        )
        process = cls(child, note)
        try:
            _write_note(note, child.pid)
        except BaseException:
            await process.stop(0)
            raise
        return process

    async def wait(self) -> int:
        """Return the API server's exit status once it has ended."""
        return await self._child.wait()

    async def stop(self, patience_s: float) -> None:
        """End the server politely, then the whole group for certain. Stopping twice is fine."""
        if self._child.returncode is None:
            with suppress(ProcessLookupError):
                self._child.terminate()
            try:
                await asyncio.wait_for(self._child.wait(), patience_s)
            except TimeoutError:
                self._child.kill()
                await self._child.wait()
        await asyncio.to_thread(kill_group, self._child.pid)
        self._note.unlink(missing_ok=True)


def clear_orphans(note: Path, patience_s: float) -> int:
    """Kill what an agent that died suddenly left of its vLLM.

    A server whose agent is gone is already ending politely; it gets `patience_s` for that.

    Returns:
        How many processes had to be killed.
    """
    if not note.is_file():
        return 0
    try:
        pgid, created = _read_note(note)
    except (ValueError, KeyError) as error:  # cut short by a full disk or a power cut
        log.warning("engine.note_unreadable", note=str(note), error=str(error))
        note.unlink()
        return 0
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pgid)
        if abs(leader.create_time() - created) > 1:  # the number went to somebody else
            note.unlink()
            return 0
        with suppress(psutil.TimeoutExpired):
            leader.wait(patience_s)
    killed = kill_group(pgid)
    note.unlink(missing_ok=True)
    return killed


def kill_group(pgid: int) -> int:
    """Kill every vLLM process of a group and wait until they are gone; return how many there were."""
    members = [process for process in psutil.process_iter() if _is_member(process, pgid)]
    for process in members:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(members, 10)
    if members:
        log.info("engine.group_killed", pgid=pgid, processes=len(members))
    return len(members)


def _write_note(note: Path, pgid: int) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    part = note.with_suffix(".part")
    part.write_text(json.dumps({"pgid": pgid, "created": psutil.Process(pgid).create_time()}))
    part.replace(note)


def _read_note(note: Path) -> tuple[int, float]:
    fields = json.loads(note.read_text())
    return fields["pgid"], fields["created"]


def _is_member(process: psutil.Process, pgid: int) -> bool:
    try:
        if os.getpgid(process.pid) != pgid or process.status() == psutil.STATUS_ZOMBIE:
            return False
        told = " ".join([process.name(), *process.cmdline()]).lower()
    except (ProcessLookupError, psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return any(word in told for word in _OURS)


def _end_with_agent() -> None:
    die_with_parent(signal.SIGTERM)
