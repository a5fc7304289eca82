"""vLLM as a child process that leaves neither orphans nor sockets.

vLLM's engine core survives the sudden death of its API server (vLLM issue 55510). So the server leads a process group
of its own; the agent adopts what it leaves behind and kills the group; and an agent that died suddenly leaves a note
by which the next one finds the group, and the folder of its sockets, which vLLM never removes.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
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

    def __init__(self, child: asyncio.subprocess.Process, note: Path, sockets: str) -> None:
        self._child = child
        self._note = note
        self._sockets = sockets

    @classmethod
    async def start(cls, command: Sequence[str], env: Mapping[str, str], note: Path) -> "VllmProcess":
        """Start vLLM in a process group of its own and note down which."""
        sockets = tempfile.mkdtemp(prefix="lorekeep-vllm-")  # not under home: a socket's path is short
        env = {**env, "VLLM_RPC_BASE_PATH": sockets}
        child = await asyncio.create_subprocess_exec(
            *command, env=env, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_agent
        )
        process = cls(child, note, sockets)
        try:
            _write_note(note, child.pid, sockets)
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
        shutil.rmtree(self._sockets, ignore_errors=True)
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
        pgid, created, sockets = _read_note(note)
    except (ValueError, KeyError) as error:  # cut short by a full disk or a power cut
        log.warning("engine.note_unreadable", note=str(note), error=str(error))
        note.unlink()
        return 0
    killed = 0 if _went_to_somebody_else(pgid, created, patience_s) else kill_group(pgid)
    shutil.rmtree(sockets, ignore_errors=True)
    note.unlink(missing_ok=True)
    return killed


def _went_to_somebody_else(pgid: int, created: float, patience_s: float) -> bool:
    """Say whether the number is another process's by now; wait for the right one to end."""
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        leader = psutil.Process(pgid)
        if abs(leader.create_time() - created) > 1:
            return True
        leader.wait(patience_s)
    return False


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


def _write_note(note: Path, pgid: int, sockets: str) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    part = note.with_suffix(".part")
    part.write_text(json.dumps({"pgid": pgid, "created": psutil.Process(pgid).create_time(), "sockets": sockets}))
    part.replace(note)


def _read_note(note: Path) -> tuple[int, float, str]:
    fields = json.loads(note.read_text())
    return fields["pgid"], fields["created"], fields["sockets"]


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
