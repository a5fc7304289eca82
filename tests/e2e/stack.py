"""`lorekeep up` as a user starts it, on ports and a home of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from openai import OpenAI

from tests.e2e.waiting import wait_until

START_S = 600


@dataclass
class Stack:
    """A running installation, and how a user reaches it."""

    process: subprocess.Popen[bytes]
    home: Path
    port: int
    engine_port: int

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """The admin key that `up` made."""
        return (self.home / "admin.key").read_text().strip()

    def http(self) -> httpx.Client:
        """Return a client with the admin key."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=120)

    def openai(self, **options: Any) -> OpenAI:
        """Return OpenAI's own client."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.key, **options)

    def part(self, name: str) -> psutil.Process:
        """Return the process of one part, by the module it runs."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if name in " ".join(child.cmdline()):
                    return child
        raise AssertionError(f"no process of {self.home} runs {name}")

    def kill(self, name: str) -> None:
        """Kill one part, which may be starting just now, and wait until another process has taken its place."""
        killed = self._wait_part(name, other_than=0)
        killed.kill()
        self._wait_part(name, other_than=killed.pid)

    def _wait_part(self, name: str, other_than: int, timeout_s: float = 120) -> psutil.Process:
        def successor() -> psutil.Process | None:
            with contextlib.suppress(AssertionError):
                return part if (part := self.part(name)).pid != other_than else None
            return None

        return wait_until(successor, timeout_s, lambda: f"no new process took the place of {name}: {self.logs()}")

    def wait_ready(self, timeout_s: float = START_S) -> float:
        """Wait until /readyz answers 200; return how long that took, in seconds."""
        began = time.monotonic()

        def is_ready() -> bool:
            assert self.process.poll() is None, f"`lorekeep up` ended with {self.process.returncode}: {self.logs()}"
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == httpx.codes.OK

        wait_until(is_ready, timeout_s, lambda: f"not ready: {self.logs()}")
        return time.monotonic() - began

    def logs(self) -> str:
        """Return the last lines of every part's log."""
        logs = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"== {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in logs)


def free_port() -> int:
    """Return a port nothing listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def running_stack(home: Path, model: Path, **settings: str) -> Iterator[Stack]:
    """Run `lorekeep up` until the block ends, then see that nothing of it is left."""
    port, engine_port = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOREKEEP_")}
    environment |= {"LOREKEEP_HOME": str(home), "LOREKEEP_BASE_MODEL": str(model), "LOREKEEP_PORT": str(port)}
    environment |= {"LOREKEEP_ENGINE_PORT": str(engine_port), **settings}
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.out").open("wb") as out:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("lorekeep"), "up"], env=environment, stdout=out, stderr=out, cwd=home
        )
        stack = Stack(process, home, port, engine_port)
        try:
            stack.wait_ready()
            yield stack
        finally:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            _, left = psutil.wait_procs(family, timeout=10)
            for orphan in left:
                orphan.kill()
            assert not left, f"`lorekeep up` left {[orphan.name() for orphan in left]} behind"
