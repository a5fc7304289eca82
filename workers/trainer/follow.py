"""Telling how far work is while it is done."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

Progress = dict[str, Any]
Tell = Callable[[Progress], Awaitable[None]]
REPORT_S = 0.5
_Made = TypeVar("_Made")


async def follow(
    work: Callable[[], _Made], mark: Callable[[], object], progress: Callable[[], Progress | None], tell: Tell
) -> _Made:
    """Do work that blocks, in a thread, as `attend` does work that does not."""
    return await attend(asyncio.to_thread(work), mark, progress, tell)


async def attend(
    work: Coroutine[Any, Any, _Made], mark: Callable[[], object], progress: Callable[[], Progress | None], tell: Tell
) -> _Made:
    """Do work and return what it made.

    Args:
        mark: changes with the work; looked at every half second.
        progress: what is told whenever the mark has changed, if there is anything to tell.
    """
    running, last = asyncio.create_task(work), mark()
    try:
        while not running.done():
            await asyncio.wait([running], timeout=REPORT_S)
            now = mark()
            if now != last and (told := progress()):
                last = now
                await tell(told)
        return running.result()
    finally:
        running.cancel()
        await asyncio.wait([running])
