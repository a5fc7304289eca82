"""Ending tasks, even where a library loses the cancellation; waiting for what may never end."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

_AGAIN_S = 0.1


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they are over; what they raise is dropped.

    Before Python 3.12 `asyncio.wait_for`, by which redis-py sends, drops a cancellation that arrives as it ends.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_S)


class Look:
    """A look at something that may hang, such as a network's folder: one at a time, in a thread, for all who ask."""

    def __init__(self, look: Callable[[], bool]) -> None:
        self._look = look
        self._task: asyncio.Task[bool] | None = None

    async def within(self, seconds: float) -> bool | None:
        """Return what it says; None where it has not ended by then: whoever asks next waits for the same one."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(asyncio.to_thread(self._look))
        done, _ = await asyncio.wait({self._task}, timeout=seconds)
        return self._task.result() if done else None
