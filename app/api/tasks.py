"""Ending tasks, even where a library loses the cancellation."""

import asyncio
from collections.abc import Iterable
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
