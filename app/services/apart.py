"""Work on what users send, in a process of its own: it can neither hold up nor bring down the caller."""

import asyncio
import resource
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from anyio import BrokenWorkerProcess, CapacityLimiter, to_process

from app.errors import UnreadableDocument

MEMORY_LIMIT_BYTES = 4 * 2**30

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


async def apart(work: Callable[[*_Ts], _T], *given: *_Ts, time_limit_s: float, refusal: UnreadableDocument) -> _T:
    """Return what `work` makes of what it is given; both must pickle.

    Args:
        time_limit_s: its process is killed then. Waiting for one of them, as many as there are cores, does not count.
        refusal: raised where the work takes longer, or more than `MEMORY_LIMIT_BYTES`.
    """
    async with to_process.current_default_process_limiter():
        try:
            async with asyncio.timeout(time_limit_s):
                return await to_process.run_sync(_bounded, work, given, cancellable=True, limiter=CapacityLimiter(1))
        except (TimeoutError, BrokenWorkerProcess, MemoryError) as error:
            raise refusal from error


def _bounded(work: Callable[[*_Ts], _T], given: tuple[*_Ts]) -> _T:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_LIMIT_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    return work(*given)
