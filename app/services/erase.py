"""Deletion: gone for readers at once, then drained, unloaded, erased, and a receipt. Safe to do twice, at any step."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from app.core.memory import Memory
from app.engines.client import EngineClient
from app.errors import ServiceError
from app.services.remember import Rememberer
from app.stores.artifacts import ArtifactStore
from app.stores.engines import EngineStore
from app.stores.erasures import Debt, ErasureStore
from app.stores.events import EventStore
from app.stores.memories import MemoryStore
from app.stores.versions import Job, VersionStore

log = structlog.get_logger()
LOOK_S = 1.0


class Eraser:
    """Buries memories and settles what is owed."""

    def __init__(
        self,
        stores: tuple[MemoryStore, VersionStore, EventStore, ErasureStore, EngineStore],
        artifacts: ArtifactStore,
        client: EngineClient,
        *,
        grace_s: float,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Build an eraser.

        Args:
            grace_s: between unloading an adapter and erasing its files; an engine may still be reading them.
        """
        self._memories, self._versions, self._events, self._erasures, self._engines = stores
        self._artifacts, self._client, self._grace_s, self._pause = artifacts, client, grace_s, pause
        self._wake = asyncio.Event()

    async def bury(self, memory: Memory, rememberer: Rememberer) -> None:
        """Delete a memory for every reader and kill its training; the rest follows in the background."""
        versions = await self._versions.of(memory)
        tombstone = {
            "id": memory.id,
            "name": memory.name,
            "status": "erasing",
            "deleted_at": time.time(),
            "versions": memory.latest,
            "adapters": [version.adapter for version in versions if version.adapter],
            "documents": len({ref.digest for version in versions for ref in version.documents}),
        }
        await self._memories.bury(memory, tombstone)
        for version in versions:
            await rememberer.stop(Job(memory.tenant, memory.id, version.number))
        self._wake.set()

    async def run(self) -> None:
        """Settle what is owed, for ever; what fails is tried again."""
        while True:
            try:
                for debt in await self._erasures.owed():
                    await self.settle(debt)
            except (RedisError, ServiceError, OSError) as error:
                log.warning("erasure.postponed", error=type(error).__name__)
            self._wake.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def settle(self, debt: Debt) -> None:
        """Erase one memory and write its receipt.

        Raises:
            AdapterBusy: requests for it are still running; nothing is erased.
        """
        tombstone = await self._erasures.tombstone(debt.tenant, debt.memory_id)
        adapters = await self._adapters(debt, tombstone)
        engines = await self._unload(adapters)
        await self._pause(self._grace_s)
        files, size = await asyncio.to_thread(self._artifacts.erase_memory, debt.tenant, debt.memory_id)
        await self._events.erase(debt.tenant, debt.memory_id)
        await self._versions.erase(debt.tenant, debt.memory_id, tombstone["versions"])
        receipt: dict[str, Any] = {"status": "erased", "adapters": adapters, "engines": engines}
        if files:  # none the second time, after a crash between erasing and the receipt
            receipt |= {"files": files, "bytes": size}
        await self._erasures.settle(debt, receipt)
        log.info("memory.erased", memory_id=debt.memory_id, files=files)

    async def _adapters(self, debt: Debt, tombstone: dict[str, Any]) -> list[str]:
        """List every adapter of the memory, those of a training that was just killed included."""
        kept = await asyncio.to_thread(self._artifacts.versions, debt.tenant, debt.memory_id)
        return sorted({*tombstone["adapters"], *map(str, kept)})

    async def _unload(self, adapters: list[str]) -> list[str]:
        """Take the adapters from every engine, once their requests have ended; return the engines that held one."""
        for adapter in adapters:
            await self._engines.forget(adapter)
        held: list[str] = []
        for engine in await self._engines.live():
            removed = [await self._client.remove(engine.url, adapter) for adapter in adapters]
            held += [engine.id] * any(removed)
        return held
