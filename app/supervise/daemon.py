"""supervisord as a child process, and what it says of the parts."""

import http.client
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import psutil
from supervisor.xmlrpc import SupervisorTransport

from app.errors import StartupError
from app.processes import adopt_orphans
from app.settings import Settings
from app.supervise.parts import DIE_WITH_PARENT, STOP_S, Part, configuration, environment

BROKEN = {"BACKOFF", "FATAL", "EXITED"}
_NO_ANSWER = (OSError, http.client.HTTPException, xmlrpc.client.Error)


@dataclass(frozen=True)
class Status:
    """One part as supervisord sees it: its state in supervisord's own words, and its process."""

    name: str
    state: str
    pid: int


def wait_for_last(settings: Settings, say: Callable[[str], None]) -> None:
    """Wait for the supervisord of an `up` that was killed: it may still be stopping its parts."""
    config, note = settings.run_folder / "supervisord.conf", settings.run_folder / "supervisord.pid"
    with suppress(OSError, ValueError, psutil.Error):  # none, or it is gone; one that stays is met by the checks
        last = psutil.Process(int(note.read_text()))
        if str(config) in last.cmdline():
            say("What ran here before is still stopping: waiting for it.")
            last.wait(STOP_S + 10)


class Daemon:
    """Starts and stops supervisord; leaves nothing behind."""

    def __init__(self, process: "subprocess.Popen[bytes]", socket: str) -> None:
        self._process, self._socket = process, socket

    @classmethod
    def start(cls, settings: Settings, parts: Sequence[Part], inherited: Mapping[str, str]) -> Self:
        """Start supervisord with every part stopped; `wait` before anything else."""
        adopt_orphans()
        config = settings.run_folder / "supervisord.conf"
        config.write_text(configuration(settings, parts))
        socket = settings.run_folder / "supervisor.sock"
        socket.unlink(missing_ok=True)
        process = subprocess.Popen(
            [*DIE_WITH_PARENT, sys.executable, "-m", "supervisor.supervisord", "--configuration", str(config)],
            env=environment(settings, inherited),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return cls(process, str(socket))

    def wait(self, settings: Settings) -> None:
        """Wait until supervisord takes orders.

        Raises:
            StartupError: it did not start.
        """
        until = time.monotonic() + 15
        while not self._answers():
            if not self.alive or time.monotonic() > until:
                raise StartupError(f"supervisord did not start: see {settings.home}/logs/supervisord.log.")
            time.sleep(0.05)

    @property
    def alive(self) -> bool:
        """Whether supervisord itself still runs."""
        return self._process.poll() is None

    def begin(self, name: str) -> None:
        """Start one part, without waiting for it."""
        with suppress(*_NO_ANSWER):  # the next look at the statuses tells
            self._ask("startProcess", name, False)

    def statuses(self) -> list[Status]:
        """Return what supervisord says of each part; empty when it does not answer."""
        try:
            return [Status(one["name"], one["statename"], one["pid"]) for one in self._ask("getAllProcessInfo")]
        except _NO_ANSWER:
            return []

    def stop(self) -> None:
        """Stop every part, politely first, then whatever is left of them."""
        family = psutil.Process().children(recursive=True)
        if self.alive:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S + 10)
        family += psutil.Process().children(recursive=True)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, 10)

    def _answers(self) -> bool:
        try:
            return bool(self._ask("getState")["statename"] == "RUNNING")
        except _NO_ANSWER:
            return False

    def _ask(self, method: str, *arguments: object) -> Any:
        """Call supervisord over a connection of its own: one that broke once cannot be used again."""
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        try:
            server: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(server.supervisor, method)(*arguments)
        finally:
            transport.close()
