"""Deletion: gone for readers at once, then drained, unloaded, erased, and a receipt. Safe to do twice, at any step."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from redis.exceptions import RedisError

from app.core.lifecycle import OPEN, State
from app.core.memory import Memory, Version
from app.engines.client import EngineClient
from app.errors import MemoryNotFound, ServiceError, StateConflict
from app.services.remember import Rememberer
from app.stores.artifacts import ArtifactStore
from app.stores.engines import EngineStore
from app.stores.erasures import Debt, ErasureStore
from app.stores.events import EventStore
from app.stores.memories import MemoryStore
from app.stores.versions import Job, VersionStore

log = structlog.get_logger()
LOOK_S = 1.0


@dataclass(frozen=True)
class Places:
    """Where parts of a memory are."""

    memories: MemoryStore
    versions: VersionStore
    events: EventStore
    erasures: ErasureStore
    engines: EngineStore
    artifacts: ArtifactStore
    client: EngineClient


class Eraser:
    """Buries memories and settles what is owed."""

    def __init__(
        self, places: Places, *, grace_s: float, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Build an eraser.

        Args:
            grace_s: between unloading an adapter and erasing its files; an engine may still be reading them.
        """
        self._at, self._grace_s, self._pause = places, grace_s, pause
        self._wake = asyncio.Event()

    async def bury(self, memory: Memory, rememberer: Rememberer) -> None:
        """Delete a memory for every reader, its guards first, and end their training; the rest follows later.

        Cut off in between it leaves a memory without guards, which can be deleted again.
        """
        for guard in await self._at.memories.guards_on(memory.tenant, {memory.id}):
            await self._bury(guard, rememberer)
        await self._bury(memory, rememberer)
        self._wake.set()

    async def _bury(self, memory: Memory, rememberer: Rememberer) -> None:
        versions = await self._at.versions.of(memory)
        training = [version for version in versions if version.state in OPEN]
        for version in training:
            with suppress(StateConflict, MemoryNotFound):  # it ended, or somebody else deletes too
                await self._at.versions.change(version, State.CANCELLED)
        debt, tombstone = Debt(memory.tenant, memory.id), _tombstone(memory, versions, training)
        await self._at.memories.bury(memory, tombstone)
        await self._mark(debt, tombstone)
        if "files" in await self._at.erasures.tombstone(debt.tenant, debt.memory_id):
            # another gateway has begun to erase, and may not have seen the mark
            await asyncio.to_thread(self._at.artifacts.erase_memory, debt.tenant, debt.memory_id)
        for version in training:
            await rememberer.stop(Job(memory.tenant, memory.id, version.number))

    async def _mark(self, debt: Debt, tombstone: dict[str, Any]) -> None:
        """Replace the record that restores a memory by the time of its deletion, which a lost registry cannot undo.

        After the burial, which may fail, and before anything is answered or erased.
        """
        record = {"deleted_at": tombstone["deleted_at"]}
        await asyncio.to_thread(self._at.artifacts.write_memory, debt.tenant, debt.memory_id, record)

    async def run(self) -> None:
        """Settle what is owed, for ever; what fails is tried again."""
        while True:
            with suppress(RedisError, OSError):
                for debt in await self._at.erasures.owed():
                    await self._try(debt)
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    async def _try(self, debt: Debt) -> None:
        try:
            await self.settle(debt)
        except (ServiceError, RedisError, OSError) as error:
            log.warning("erasure.postponed", memory_id=debt.memory_id, error=type(error).__name__)
        except Exception:  # a fault of ours: this one stays owed, and the others are settled all the same
            log.exception("erasure.failed", memory_id=debt.memory_id)

    async def settle(self, debt: Debt) -> None:
        """Erase one memory and write its receipt.

        Raises:
            AdapterBusy: requests for it are still running; it stays owed.
            EngineFailed: an engine cannot be asked to unload it; it stays owed.
        """
        tombstone = await self._at.erasures.tombstone(debt.tenant, debt.memory_id)
        if "files" not in tombstone:  # else it was marked before they were counted
            await self._mark(debt, tombstone)
        await self._pause(max(0.0, tombstone["trained_until"] - time.time()))
        adapters = await self._adapters(debt, tombstone)
        engines = await self._unload(adapters)
        composites = await self._purge(debt, files=False)
        await self._pause(self._grace_s)
        if "files" not in tombstone:  # counted before, for a crash in the middle of erasing would lose the count
            files, size = await asyncio.to_thread(self._at.artifacts.measure_memory, debt.tenant, debt.memory_id)
            noted: dict[str, Any] = {"files": files, "bytes": size, "engines": engines}
            noted["adapters"] = sorted({*adapters, *composites})
            await self._at.erasures.note(debt, noted)
        await asyncio.to_thread(self._at.artifacts.erase_memory, debt.tenant, debt.memory_id)
        await self._purge(debt, files=True)  # now that no engine can compose of it any more
        await self._unload(adapters)  # a request that was let in before may have had it loaded since
        await self._at.events.erase(debt.tenant, debt.memory_id)
        await self._at.versions.erase(debt.tenant, debt.memory_id, tombstone["versions"])
        await self._at.erasures.settle(debt, {"status": "erased"})
        log.info("memory.erased", memory_id=debt.memory_id)

    async def _adapters(self, debt: Debt, tombstone: dict[str, Any]) -> list[str]:
        """List every adapter of the memory, those of a training that was just killed included."""
        kept = await asyncio.to_thread(self._at.artifacts.versions, debt.tenant, debt.memory_id)
        return sorted({*tombstone["adapters"], *map(str, kept)})

    async def _unload(self, adapters: list[str]) -> list[str]:
        """Take the adapters from every engine, once their requests have ended; return the engines that held one."""
        for adapter in adapters:
            await self._at.engines.forget(adapter)
        engines = await self._at.engines.live()
        held = await asyncio.gather(*[self._remove(engine.url, adapters) for engine in engines])
        return [engine.id for engine, one in zip(engines, held, strict=True) if one]

    async def _purge(self, debt: Debt, *, files: bool) -> list[str]:
        """Take every composite of the memory from every engine; one that is away does so when it is back."""
        engines = await self._at.engines.live()
        purge = self._at.client.purge
        found = await asyncio.gather(
            *[purge(engine.url, debt.tenant, debt.memory_id, files=files) for engine in engines]
        )
        names = sorted({name for one in found for name in one})
        for name in names:
            await self._at.engines.forget(name)
        return names

    async def _remove(self, url: str, adapters: list[str]) -> bool:
        return any([await self._at.client.remove(url, adapter) for adapter in adapters])


def _tombstone(memory: Memory, versions: list[Version], training: list[Version]) -> dict[str, Any]:
    return {
        "id": memory.id,
        "name": memory.name,
        "status": "erasing",
        "deleted_at": time.time(),
        "versions": memory.latest,
        "adapters": [adapter for version in versions for adapter in version.adapters],
        "documents": len({ref.digest for version in versions for ref in version.documents}),
        # a trainer may write until then: it learns of the deletion when it next renews its lease
        "trained_until": max((version.lease_until for version in training), default=0.0),
    }
