"""The agent: keeps one engine's adapters equal to what the registry wants, and tells the registry what it holds.

Two loops, so that a slow load never stops the heartbeat. An engine that does not answer `/health` is not reported,
and goes out of service when its last report expires. The registry may restart at any time: a beat is lost, no more.
"""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from redis.exceptions import RedisError

from app.core.engines import EngineRecord, merged_use
from app.core.names import is_composite
from app.core.placement import reconcile
from app.engines.client import EngineClient, Listing
from app.errors import AdapterRejected, EngineFailed, InvalidRequest, ModelNotFound, ServiceError
from app.stores.engines import EngineStore

log = structlog.get_logger()

_WITHDRAW_S = 3.0
_COMPOSE_S = 600.0  # as long as a gateway waits for an engine
_HOPELESS = (AdapterRejected, InvalidRequest, ModelNotFound)  # asking again gives the same answer


class Superseded(Exception):
    """A newer agent of the same engine has reported; this one must end."""


class Agent:
    """One engine's agent."""

    def __init__(
        self,
        record: EngineRecord,
        store: EngineStore,
        client: EngineClient,
        *,
        url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make the agent.

        Args:
            record: what it reports, but for the epoch, the residency and the heartbeat's time.
            url: where the agent itself reaches the engine, if not at `record.url`.
        """
        self._record = record
        self._store = store
        self._client = client
        self._url = url or record.url
        self._clock = clock

    async def run(self, heartbeat: timedelta, ttl: timedelta) -> None:
        """Take an epoch, then beat and reconcile until cancelled.

        Raises:
            Superseded: another agent has taken over this engine's id.
        """
        while not await self.enrol() and not _is_cancelled():  # noqa: ASYNC110 - no event tells that Redis is back
            await asyncio.sleep(heartbeat.total_seconds())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_for_ever(lambda: self.beat(ttl), heartbeat))
                group.create_task(_for_ever(self.reconcile, heartbeat))
        except* Superseded as superseded:
            raise superseded.exceptions[0] from None

    async def enrol(self) -> bool:
        """Take an epoch above every older agent's; False while the registry cannot be reached."""
        try:
            self._record = dataclasses.replace(self._record, epoch=await self._store.next_epoch())
        except RedisError as error:
            log.warning("registry.unreachable", error=str(error))
            return False
        return True

    async def beat(self, ttl: timedelta) -> bool:
        """Report what the engine holds; False if it is not healthy and nothing was reported.

        Raises:
            Superseded: another agent has taken over this engine's id.
        """
        if not await self._client.healthy(self._url):
            log.warning("engine.unhealthy", engine=self._record.id)
            return False
        listing = await self._client.list(self._url)
        record = dataclasses.replace(self._record, resident=listing.resident, heartbeat_at=self._clock())
        if not await self._store.report(record, ttl.total_seconds()):
            raise Superseded(self._record.id)
        return True

    async def reconcile(self) -> None:
        """Unload what nobody desires and load what is missing, one adapter at a time.

        What is held is read before what is desired: an adapter that a gateway desired and loaded in between is
        then seen as desired, and never taken for a leftover.
        """
        listing = await self._client.list(self._url)
        desired = await self._store.desired(self._record.id)
        pinned = await self._store.pinned()
        steps = reconcile(
            merged_use(desired, listing.resident),
            listing.resident,
            pinned=pinned & desired.keys(),
            capacity=self._record.capacity,
        )
        for name in steps.remove:
            await self._unload(name)
        late = self._late(desired, steps.load)
        await self._store.trim(self._record.id, self._surplus(desired, listing, steps.load, steps.remove) | late)
        for name in steps.load:
            if not is_composite(name):
                await self._load(name, desired[name])
        await self._keep_pins(listing, pinned)

    async def withdraw(self) -> None:
        """Take the engine out of service at once, as far as the registry can be reached."""
        try:
            async with asyncio.timeout(_WITHDRAW_S):
                await self._store.withdraw(self._record.id, self._record.epoch)
        except (RedisError, TimeoutError) as error:
            log.warning("registry.unreachable", error=str(error))

    def _late(self, desired: dict[str, float], missing: tuple[str, ...]) -> dict[str, float]:
        """Return the composites that nobody will bring in any more.

        Only who asks for a composite knows how to make it: a missing one is being composed, or was lost and is composed
        again when somebody asks.
        """
        now = self._clock()
        return {name: desired[name] for name in missing if is_composite(name) and now - desired[name] > _COMPOSE_S}

    def _surplus(
        self, desired: dict[str, float], listing: Listing, load: tuple[str, ...], removed: tuple[str, ...]
    ) -> dict[str, float]:
        """Return the desired adapters that there is no room for, with the time each was last asked for."""
        kept = (set(listing.resident) - set(removed)) | set(load)
        return {name: at for name, at in desired.items() if name not in kept}

    async def _load(self, name: str, asked_at: float) -> None:
        try:
            loaded = await self._client.load(self._url, name)
        except _HOPELESS as error:
            log.warning("adapter.refused", adapter=name, code=error.code, error=error.detail)
            await self._store.trim(self._record.id, {name: asked_at})
        except EngineFailed:
            raise
        except ServiceError as error:
            log.info("adapter.postponed", adapter=name, code=error.code)
        else:
            log.info("adapter.brought_in", adapter=name, load_ms=round(loaded.load_ms, 1), cold=loaded.cold)

    async def _unload(self, name: str) -> None:
        try:
            await self._client.remove(self._url, name)
        except EngineFailed:
            raise
        except ServiceError as error:
            log.info("adapter.postponed", adapter=name, code=error.code)

    async def _keep_pins(self, listing: Listing, pinned: set[str]) -> None:
        for name in sorted(set(listing.resident) & (pinned ^ listing.pinned)):
            change = self._client.pin if name in pinned else self._client.unpin
            try:
                await change(self._url, name)
            except ModelNotFound:
                log.info("adapter.postponed", adapter=name, code="not_held")


async def _for_ever(step: Callable[[], Awaitable[object]], every: timedelta) -> None:
    while not _is_cancelled():
        try:
            await step()
        except RedisError as error:
            log.warning("registry.unreachable", error=str(error))
        except ServiceError as error:
            log.warning("engine.unreachable", code=error.code, error=error.detail)
        await asyncio.sleep(every.total_seconds())


def _is_cancelled() -> bool:
    """Say whether this task was cancelled, even if a library lost the exception.

    Before Python 3.12 `asyncio.wait_for`, by which redis-py sends, drops a cancellation that arrives as it ends.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
