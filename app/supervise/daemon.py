"""supervisord as a child process, and what it says of the parts."""

import subprocess
import sys
import time
import xmlrpc.client
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import psutil
from supervisor.xmlrpc import SupervisorTransport

from app.errors import StartupError
from app.processes import adopt_orphans
from app.settings import Settings
from app.supervise.parts import DIE_WITH_PARENT, STOP_S, configuration, environment, parts_of

BROKEN = {"BACKOFF", "FATAL", "EXITED"}


@dataclass(frozen=True)
class Status:
    """One part as supervisord sees it: its state in supervisord's own words, and its process."""

    name: str
    state: str
    pid: int


class Daemon:
    """Starts and stops supervisord; leaves nothing behind."""

    def __init__(self, process: "subprocess.Popen[bytes]", socket: str) -> None:
        self._process = process
        transport = SupervisorTransport(None, None, serverurl=f"unix://{socket}")
        self._rpc: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    @classmethod
    def start(cls, settings: Settings, inherited: dict[str, str]) -> Self:
        """Start supervisord with every part stopped.

        Raises:
            StartupError: it did not start.
        """
        adopt_orphans()
        config = settings.run_folder / "supervisord.conf"
        config.write_text(configuration(settings, parts_of(settings)))
        socket = settings.run_folder / "supervisor.sock"
        socket.unlink(missing_ok=True)
        process = subprocess.Popen(
            [*DIE_WITH_PARENT, sys.executable, "-m", "supervisor.supervisord", "--configuration", str(config)],
            env=environment(settings, inherited),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        daemon = cls(process, str(socket))
        until = time.monotonic() + 15
        while not daemon._answers():
            if process.poll() is not None or time.monotonic() > until:
                daemon.stop()
                raise StartupError(f"supervisord did not start: see {settings.home}/logs/supervisord.log.")
            time.sleep(0.05)
        return daemon

    @property
    def alive(self) -> bool:
        """Whether supervisord itself still runs."""
        return self._process.poll() is None

    def begin(self, name: str) -> None:
        """Start one part, without waiting for it."""
        with suppress(xmlrpc.client.Fault):
            self._rpc.startProcess(name, False)

    def statuses(self) -> list[Status]:
        """Return what supervisord says of each part; empty when it does not answer."""
        try:
            return [Status(one["name"], one["statename"], one["pid"]) for one in self._rpc.getAllProcessInfo()]
        except (OSError, xmlrpc.client.Error):
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
            return bool(self._rpc.getState()["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error):
            return False
