"""The one way in which these tests wait for another process."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")
PAUSE_S = 0.2


def wait_until(look: Callable[[], T | None], timeout_s: float, what: Callable[[], str]) -> T:
    """Look until there is something true to see, and return it; a connection that fails shows nothing.

    Args:
        what: says what never came, when time is up.
    """
    began = time.monotonic()
    while time.monotonic() - began < timeout_s:
        try:
            if seen := look():
                return seen
        except httpx.TransportError:
            pass
        time.sleep(PAUSE_S)
    raise AssertionError(f"after {timeout_s:.0f} s: {what()}")
