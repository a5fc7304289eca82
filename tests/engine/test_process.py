import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from workers.engine.process import VllmProcess, clear_orphans, kill_group

# A server that starts a core, both deaf to SIGTERM if told so, and writes the core's id once both are up.
SERVER = """
import os, signal, subprocess, sys
deaf, fifo = sys.argv[2] == "deaf", sys.argv[3]
if deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
core = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", "vllm"])
open(os.path.join(os.environ["VLLM_RPC_BASE_PATH"], "socket"), "w").close()
with open(fifo, "w") as file:
    file.write(str(core.pid))
core.wait()
"""


async def start(folder: Path, mode: str = "polite") -> tuple[VllmProcess, psutil.Process, Path]:
    """Start a server; return it, its core and the note."""
    fifo, note = folder / "fifo", folder / "run" / "engine.json"
    os.mkfifo(fifo)
    command = [sys.executable, "-c", SERVER, "vllm", mode, str(fifo)]
    process = await VllmProcess.start(command, os.environ, note)
    core = psutil.Process(int(await asyncio.to_thread(fifo.read_text)))
    return process, core, note


def sockets(note: Path) -> Path:
    """Return the folder of the server's sockets, of which it has made one."""
    folder = Path(json.loads(note.read_text())["sockets"])
    assert [file.name for file in folder.iterdir()] == ["socket"]
    return folder


async def test_stopping_ends_the_server_and_its_core_and_leaves_no_socket(tmp_path: Path) -> None:
    process, core, note = await start(tmp_path)
    left = sockets(note)
    await process.stop(5)
    await process.stop(5)

    assert not core.is_running()
    assert not left.exists()
    assert not note.exists()


async def test_a_server_that_does_not_end_is_killed(tmp_path: Path) -> None:
    process, core, _ = await start(tmp_path, "deaf")
    await process.stop(0.05)

    assert not core.is_running()
    assert await process.wait() == -signal.SIGKILL


async def test_the_core_does_not_outlive_a_server_that_died_suddenly(tmp_path: Path) -> None:
    process, core, note = await start(tmp_path)
    os.kill(json.loads(note.read_text())["pgid"], signal.SIGKILL)
    await process.wait()
    assert core.is_running()
    await process.stop(5)

    assert not core.is_running()


async def test_the_next_agent_finds_what_a_dead_one_left(tmp_path: Path) -> None:
    process, core, note = await start(tmp_path)
    left = sockets(note)
    os.kill(json.loads(note.read_text())["pgid"], signal.SIGKILL)
    await process.wait()

    assert clear_orphans(note, 1) == 1
    assert not core.is_running()
    assert not left.exists()
    assert not note.exists()


def test_a_note_whose_number_went_to_somebody_else_harms_nobody(tmp_path: Path) -> None:
    note = tmp_path / "engine.json"
    with subprocess.Popen(
        [sys.executable, "-c", "input()", "vllm"], stdin=subprocess.PIPE, start_new_session=True
    ) as other:
        note.write_text(json.dumps({"pgid": other.pid, "created": 1.0, "sockets": str(tmp_path / "gone")}))
        killed = clear_orphans(note, 1)
        alive = other.poll() is None
        other.kill()

    assert (killed, alive) == (0, True)
    assert not note.exists()


def test_a_group_that_is_not_vllms_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as other:
        killed = kill_group(other.pid)
        alive = other.poll() is None
        other.kill()

    assert (killed, alive) == (0, True)


@pytest.mark.parametrize("text", ["", '{"pgid": 1', "{}"])
def test_a_note_that_was_cut_short_stops_no_engine_from_starting(tmp_path: Path, text: str) -> None:
    note = tmp_path / "engine.json"
    note.write_text(text)

    assert clear_orphans(note, 1) == 0
    assert not note.exists()


async def test_a_server_of_which_no_whole_note_can_be_written_is_ended(tmp_path: Path) -> None:
    note = tmp_path / "engine.json"
    note.with_suffix(".part").mkdir()  # as a full disk does
    before = set(psutil.Process().children())
    with pytest.raises(IsADirectoryError):
        await VllmProcess.start([sys.executable, "-c", "import signal; signal.pause()", "vllm"], os.environ, note)

    assert set(psutil.Process().children()) == before
    assert not note.exists()


def test_no_note_means_no_orphans(tmp_path: Path) -> None:
    assert clear_orphans(tmp_path / "none.json", 1) == 0
