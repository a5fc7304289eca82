"""Copies on this machine of what the artifact store holds, and what was made of it: they go with their memory.

An erasure drops those of its own gateway and of the engines that live. What other gateways, trainers and engines that
were away have copied is dropped by each of them: at its start, and every `SWEEP_S`.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from redis.exceptions import RedisError

from app.errors import ServiceError
from app.stores.artifacts import ArtifactStore

log = structlog.get_logger()
SWEEP_S = 600.0


async def sweep_copies(artifacts: ArtifactStore) -> None:
    """Drop the copies of what the store no longer holds; where it cannot be asked none, until the next time."""
    await _try(lambda: asyncio.to_thread(artifacts.drop_orphans), "copies.not_swept")


async def keep_swept(sweep: Callable[[], Awaitable[None]], failed: str) -> None:
    """Sweep now and then until cancelled; `failed` is the event in the log where it could not be done."""
    while True:
        await _try(sweep, failed)
        await asyncio.sleep(SWEEP_S)


async def _try(sweep: Callable[[], Awaitable[None]], failed: str) -> None:
    try:
        await sweep()
    except (ServiceError, RedisError, OSError) as error:
        log.warning(failed, error=type(error).__name__)
    except Exception:  # a fault of ours: nobody awaits this task, and the next time may go well
        log.exception(failed)
