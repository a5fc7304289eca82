"""Copies on this machine of what the artifact store holds, and what was made of it: they go with their memory.

An erasure drops those of its own gateway and of the engines that live. What other gateways, trainers and engines that
were away have copied is dropped by each of them: at its start, and every `SWEEP_S`.
"""

import asyncio

import structlog

from app.stores.artifacts import ArtifactStore

log = structlog.get_logger()
SWEEP_S = 600.0


async def sweep_copies(artifacts: ArtifactStore) -> None:
    """Drop the copies of what the store no longer holds; where it cannot be asked none, until the next time."""
    try:
        await asyncio.to_thread(artifacts.drop_orphans)
    except Exception as error:  # noqa: BLE001 - each artifact store's library has errors of its own
        log.warning("copies.not_swept", error=type(error).__name__)


async def keep_swept(artifacts: ArtifactStore) -> None:
    """Do so now and then until cancelled."""
    while True:
        await sweep_copies(artifacts)
        await asyncio.sleep(SWEEP_S)
