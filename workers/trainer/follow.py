"""Work that blocks, in a thread, and telling how far it is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

Progress = dict[str, Any]
Tell = Callable[[Progress], Awaitable[None]]
REPORT_S = 0.5
_Made = TypeVar("_Made")


async def follow(
    work: Callable[[], _Made], mark: Callable[[], object], progress: Callable[[], Progress | None], tell: Tell
) -> _Made:
    """Do work in a thread and return what it made.

    Args:
        mark: changes with the work; looked at every half second.
        progress: what is told whenever the mark has changed, if there is anything to tell.
    """
    running, last = asyncio.create_task(asyncio.to_thread(work)), mark()
    while not running.done():
        await asyncio.wait([running], timeout=REPORT_S)
        now = mark()
        if now != last and (told := progress()):
            last = now
            await tell(told)
    return running.result()
