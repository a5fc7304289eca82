"""How a process starts and ends: one sentence where it cannot start, and Linux's rules for what outlives it."""

import ctypes
import signal
import socket
import sys
from collections.abc import Callable

from app.errors import StartupError

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)  # opened at import: `die_with_parent` runs between fork and exec


def exit_code_of(work: Callable[[], int]) -> int:
    """Do a process's work and return its exit code: 2, and one sentence on stderr, where it cannot start."""
    try:
        return work()
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def check_port(host: str, port: int, variable: str, part: str) -> None:
    """Make sure that a part can listen where its settings say.

    Raises:
        StartupError: it cannot.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError as error:
            raise StartupError(
                f"The {part} cannot listen on {host}:{port} ({error.strerror}): set {variable} to a free port."
            ) from error


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent dies, however that comes about. Survives exec."""
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Make grandchildren whose parent died children of this process instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if hasattr(_LIBC, "prctl"):  # Linux alone has it
        _LIBC.prctl(option, value, 0, 0, 0)
