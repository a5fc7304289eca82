"""The engines as this gateway sees them: who lives, what each holds, how busy each is, and who answers next."""

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import structlog
from redis.exceptions import RedisError

from app.core.composition import Composition
from app.core.engines import EngineRecord
from app.core.routing import EngineView, choose
from app.engines.client import EngineClient, Loaded
from app.errors import Busy, EngineFailed, EngineTimeout, NoEngine, ServiceError
from app.stores.engines import EngineStore

log = structlog.get_logger()

REFRESH_S = 0.5
TOUCH_S = 5.0
SUSPECT_S = 3.0
_HERE = Loaded(0.0, cold=False)


@dataclass
class _Load:
    """Requests of this gateway that one engine is working on."""

    active: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0


@dataclass(frozen=True)
class _Known:
    """An adapter that this gateway loaded: in which epoch of the engine, and how a composite was made."""

    epoch: int
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Seat:
    """A request's place on an engine.

    Attributes:
        cold: the adapter had to be loaded for it.
        load_ms: how long that took; 0 when it was there.
        waited_s: how long the request stood in line.
        composed: how the engine made the composite; empty where it is none.
    """

    engine: EngineRecord
    cold: bool
    load_ms: float
    waited_s: float = 0.0
    composed: Mapping[str, Any] = field(default_factory=dict)


class Fleet:
    """Seats requests on engines and counts them there."""

    def __init__(self, store: EngineStore, client: EngineClient, *, wait_s: float) -> None:
        """Build a fleet.

        Args:
            wait_s: how long a request may wait for an adapter slot.
        """
        self._store, self._client, self._wait_s = store, client, wait_s
        self._engines: dict[str, EngineRecord] = {}
        self._loads: dict[str, _Load] = {}
        self._known: dict[str, dict[str, _Known]] = {}  # engine -> adapter
        self._suspect_until: dict[str, float] = {}
        self._touched: dict[tuple[str, str], float] = {}
        self._loading: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._queue: list[asyncio.Event] = []

    @property
    def engines(self) -> list[EngineRecord]:
        """The engines alive at the last refresh."""
        return list(self._engines.values())

    @property
    def in_flight(self) -> int:
        """How many requests of this gateway the engines are working on."""
        return sum(load.in_flight for load in self._loads.values())

    @property
    def waiting(self) -> int:
        """How many requests stand in line for an adapter slot."""
        return len(self._queue)

    async def watch(self) -> None:
        """Keep the view fresh until cancelled; a registry that is away, or not understood, leaves it as it was."""
        while True:
            try:
                await self.refresh()
            except (RedisError, OSError):
                pass
            except Exception as error:  # noqa: BLE001 - nobody awaits this task: over, it would keep the dead in view
                log.warning("fleet.not_refreshed", error=repr(error))
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Look at the registry once."""
        self._engines = {engine.id: engine for engine in await self._store.live()}
        for engine_id, adapters in self._known.items():
            epoch = self._engines[engine_id].epoch if engine_id in self._engines else -1
            for name in [name for name, known in adapters.items() if known.epoch != epoch]:
                del adapters[name]
        stale = time.time() - TOUCH_S
        self._touched = {pair: at for pair, at in self._touched.items() if at > stale}
        self._wake()

    @asynccontextmanager
    async def seat(self, adapter: str | None, composition: Composition | None = None) -> AsyncIterator[Seat]:
        """Give a request a place on an engine that holds `adapter` (None: the base model), released on leaving.

        Args:
            composition: how to make the adapter, where it is a composite.

        Raises:
            NoEngine: none is alive.
            Busy: no adapter slot became free in time.
            AdapterRejected, CompositeRejected, ModelNotFound, EngineFailed: the adapter could not be loaded.
        """
        began = time.monotonic()
        view = await self._admit(adapter)
        waited_s = time.monotonic() - began
        load = self._loads.setdefault(view.id, _Load())
        load.in_flight += 1
        if adapter:
            load.active[adapter] += 1
        try:
            engine = self._engines[view.id]
            loaded = await self._bring_in(engine, adapter, composition) if adapter else _HERE
            yield Seat(engine, loaded.cold, loaded.load_ms, waited_s, loaded.facts)
        except EngineFailed:
            self.suspect(view.id)
            raise
        finally:
            load.in_flight -= 1
            if adapter:
                load.active[adapter] -= 1
                load.active += Counter()  # drops what is zero
            self._wake()

    def suspect(self, engine_id: str) -> None:
        """Send an engine nothing for a moment: it failed."""
        self._suspect_until[engine_id] = time.monotonic() + SUSPECT_S
        self._known.pop(engine_id, None)

    def forget(self, engine_id: str, adapter: str) -> None:
        """Note that an engine does not hold an adapter after all."""
        self._known.get(engine_id, {}).pop(adapter, None)
        if engine := self._engines.get(engine_id):
            resident = {name: held for name, held in engine.resident.items() if name != adapter}
            self._engines[engine_id] = dataclasses.replace(engine, resident=resident)

    async def _admit(self, adapter: str | None) -> EngineView:
        """Choose an engine; wait in line, first come first served, while every slot is in use."""
        if not self._engines:
            with suppress(RedisError, OSError):
                await self.refresh()
        if (adapter is None or not self._queue) and (view := self._choose(adapter)):
            return view
        turn = asyncio.Event()
        self._queue.append(turn)
        if self._queue[0] is turn:
            turn.set()
        try:
            async with asyncio.timeout(self._wait_s):
                while True:
                    await turn.wait()
                    if view := self._choose(adapter):
                        return view
                    turn.clear()
        except TimeoutError as error:
            raise Busy("Every engine is busy with other memories: try again in a moment.") from error
        finally:
            self._queue.remove(turn)
            self._wake()

    def _choose(self, adapter: str | None) -> EngineView | None:
        now = time.monotonic()
        views = [self._view(engine) for engine in self._engines.values()]
        if not views:
            raise NoEngine("No engine is running: start one with `lorekeep engine`, or wait for it to come up.")
        trusted = [view for view in views if self._suspect_until.get(view.id, 0.0) <= now]
        return choose(trusted or views, adapter)

    def _view(self, engine: EngineRecord) -> EngineView:
        load = self._loads.get(engine.id, _Load())
        resident = frozenset(engine.resident) | frozenset(self._known.get(engine.id, ()))
        return EngineView(engine.id, engine.url, resident, dict(load.active), load.in_flight, engine.max_loras)

    async def _bring_in(self, engine: EngineRecord, adapter: str, composition: Composition | None) -> Loaded:
        """Make sure that the engine holds the adapter, loading or composing it once however many ask."""
        if here := self._here(engine.id, adapter, composition):
            await self._touch(engine.id, adapter)
            return here
        lock = self._loading.setdefault((engine.id, adapter), asyncio.Lock())
        async with lock:
            if here := self._here(engine.id, adapter, composition):
                return here
            self._touched.pop((engine.id, adapter), None)  # an agent unloads what nobody desires
            await self._touch(engine.id, adapter)
            if composition:
                loaded = await self._compose(engine, composition)
            else:
                loaded = await self._client.load(engine.url, adapter)
            self._known.setdefault(engine.id, {})[adapter] = _Known(engine.epoch, loaded.facts)
        return loaded if loaded.cold else dataclasses.replace(loaded, load_ms=0.0)

    async def _compose(self, engine: EngineRecord, composition: Composition) -> Loaded:
        """Have the engine compose what is desired; refused, it is no more, for it would take the room of others."""
        asked_at = time.time()
        try:
            return await self._client.compose(engine.url, composition)
        except EngineTimeout:  # it may be composing still
            raise
        except ServiceError:
            with suppress(RedisError, OSError):
                await self._store.trim(engine.id, {str(composition.name): asked_at})
            raise

    def _here(self, engine_id: str, adapter: str, composition: Composition | None) -> Loaded | None:
        """Return what is known of an adapter that the engine holds; of another gateway's composite it must be asked."""
        known = self._known.get(engine_id, {}).get(adapter)
        if known:
            return Loaded(0.0, cold=False, facts=known.facts)
        return _HERE if composition is None and self._holds(engine_id, adapter) else None

    def _holds(self, engine_id: str, adapter: str) -> bool:
        engine = self._engines.get(engine_id)
        return (engine is not None and adapter in engine.resident) or adapter in self._known.get(engine_id, {})

    async def _touch(self, engine_id: str, adapter: str) -> None:
        """Tell the registry now and then that the adapter is wanted there; a registry that is away is no obstacle."""
        now = time.time()
        if now - self._touched.get((engine_id, adapter), 0.0) > TOUCH_S:
            self._touched[(engine_id, adapter)] = now
            with suppress(RedisError, OSError):
                await self._store.desire(engine_id, adapter, now)

    def _wake(self) -> None:
        if self._queue:
            self._queue[0].set()
