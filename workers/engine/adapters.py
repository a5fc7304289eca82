"""The set of adapters in one engine: what is loaded, checked, in use and pinned.

An adapter can be asked for only between a passed canary and the start of its removal. Ids are never reused, nothing
is loaded in place, and never more adapters are held than vLLM can: it would evict one on its own.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from weakref import WeakValueDictionary

import structlog

from app.core.canary import Canary, judge
from app.core.engines import Residency
from app.core.errors import InvalidValue
from app.core.names import AdapterName
from app.core.placement import evict
from app.errors import AdapterBusy, AdapterRejected, EngineFailed, InvalidName, ModelNotFound, SlotsFull
from workers.engine.candidates import Candidate, Shelf
from workers.engine.checks import Limits, check_adapter
from workers.engine.vllm_engine import Adapter, Engine

log = structlog.get_logger()

_LIST_S = 2.0
_LIST_EVERY_S = 30.0  # a vLLM worker spins for a second after each call: asking every second would cost a core


@dataclass(eq=False)
class _Held:
    number: int
    folder: str
    loaded_at: float
    load_ms: float
    used_at: float
    active: int = 0
    pinned: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Loaded:
    """One load: how long it took, and whether the adapter had to be brought in."""

    load_ms: float
    cold: bool


@dataclass(frozen=True)
class Patience:
    """How long to wait: for requests to end before a removal, and for the engine to score a canary."""

    drain: timedelta
    canary: timedelta


class AdapterSet:
    """Loads, checks, counts, evicts and removes."""

    def __init__(
        self,
        engine: Engine,
        store: Shelf,
        limits: Limits,
        *,
        capacity: int,
        patience: Patience,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._store = store
        self._limits = limits
        self._capacity = capacity
        self._patience = patience
        self._clock = clock
        self._listed_at = -math.inf
        self._held: dict[str, _Held] = {}
        self._moving: dict[str, int] = {}  # name -> id of what is loading or draining: it takes a slot too
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextmanager
    def request(self, name: str) -> Iterator[None]:
        """Count one request for as long as it runs; released exactly once, however it ends.

        Raises:
            ModelNotFound: the adapter is not loaded here.
        """
        held = self._held.get(name)
        if held is None:
            raise ModelNotFound(f"This engine does not hold {name[:200]!r}.", "model")
        held.active += 1
        held.idle.clear()
        held.used_at = self._clock()
        try:
            yield
        finally:
            held.active -= 1
            held.used_at = self._clock()
            if not held.active:
                held.idle.set()

    async def load(self, text: str) -> Loaded:
        """Make the adapter answer by its name; at once if it already does.

        Raises:
            InvalidName: that is not an adapter's name.
            NotFound: the artifact store does not hold it.
            AdapterRejected: its files are not fit to load, or its canary failed.
            SlotsFull: there is no room, and everything that is held is in use or pinned.
        """
        name = _parse(text)
        return await self.admit(text, lambda: self.candidate(name))

    async def candidate(self, name: AdapterName) -> Candidate:
        """Find and check an adapter's files; raises what `load` does of them."""
        folder = await asyncio.to_thread(self._store.local_folder, name)
        checked = await asyncio.to_thread(check_adapter, name, folder, self._limits)
        return Candidate(folder, lambda adapter: self._judge(adapter, checked.canary))

    async def admit(self, text: str, fetch: Callable[[], Awaitable[Candidate]]) -> Loaded:
        """Make an adapter answer by its name, fetched and brought in once, however many ask at the same time.

        Raises:
            SlotsFull: as in `load`; and whatever the candidate's fetching and proof raise.
        """
        async with self._lock(text):
            if held := await self._still_held(text):
                held.used_at = self._clock()
                return Loaded(held.load_ms, cold=False)
            began = time.monotonic()
            candidate = await fetch()
            number = self._engine.next_id()
            await self._make_room(text, number)
            try:
                await self._bring_in((text, number, str(candidate.folder)), candidate)
                load_ms = (time.monotonic() - began) * 1000
                now = self._clock()
                self._held[text] = _Held(number, str(candidate.folder), now, load_ms, used_at=now)
                self._held[text].idle.set()
                self._engine.register(text, number, str(candidate.folder))
            finally:
                del self._moving[text]
        log.info("adapter.loaded", adapter=text, load_ms=round(load_ms, 1))
        return Loaded(load_ms, cold=True)

    @property
    def names(self) -> frozenset[str]:
        """The adapters whose weights the engine holds, those on their way in or out included."""
        return frozenset(self._held) | frozenset(self._moving)

    async def remove(self, text: str) -> bool:
        """Unload the adapter once its requests have ended; new ones are refused meanwhile.

        Returns:
            False if it was not loaded.

        Raises:
            InvalidName: that is not an adapter's name.
            AdapterBusy: its requests did not end in time; it stays loaded.
        """
        _parse(text)
        async with self._lock(text):
            held = self._held.pop(text, None)
            if held is None:
                return False
            self._moving[text] = held.number
            try:
                await self._drain(text, held)
                self._engine.unregister(text)
                await self._engine.remove(held.number)
            finally:
                del self._moving[text]
        log.info("adapter.removed", adapter=text)
        return True

    def pin(self, text: str, pinned: bool) -> None:
        """Keep the adapter from being evicted, or stop doing so.

        Raises:
            ModelNotFound: the adapter is not loaded here.
        """
        held = self._held.get(text)
        if held is None:
            raise ModelNotFound(f"This engine does not hold {text[:200]!r}.")
        held.pinned = pinned

    async def listing(self) -> tuple[dict[str, Residency], frozenset[str]]:
        """Return what the engine holds, by name, and which of them are pinned.

        Now and then, vLLM's own list is asked for, unless its engine is too busy to give one in time: what it
        dropped by itself is forgotten, what it kept of a failed load is removed.
        """
        now = self._clock()
        if not 0 <= now - self._listed_at < _LIST_EVERY_S:
            self._listed_at = now
            try:
                async with asyncio.timeout(_LIST_S):
                    await self._match_engine()
            except TimeoutError:
                log.info("engine.slow_to_list")
        residency = {
            name: Residency(held.loaded_at, round(held.load_ms, 1), held.used_at, held.active)
            for name, held in self._held.items()
        }
        return residency, frozenset(name for name, held in self._held.items() if held.pinned)

    async def _match_engine(self) -> None:
        before = dict(self._held)
        there = await self._engine.held()
        for name, held in before.items():
            self._forget_if_lost(name, held, there)
        known = {held.number for held in self._held.values()} | set(self._moving.values())
        for number in there - known:
            await self._engine.remove(number)

    async def _still_held(self, name: str) -> _Held | None:
        held = self._held.get(name)
        if held is not None:
            self._forget_if_lost(name, held, await self._engine.held())
        return held if held is not None and self._held.get(name) is held else None

    def _forget_if_lost(self, name: str, held: _Held, there: set[int]) -> None:
        """Forget an adapter that was held before vLLM made the list `there` and is not on it."""
        if held.number not in there and not held.active and self._held.get(name) is held:
            log.warning("adapter.lost", adapter=name)
            self._drop(name)

    async def _make_room(self, name: str, number: int) -> None:
        """Take a slot for `name`; choosing a victim and forgetting it happen with no await between."""
        victim = None
        if len(self._held) + len(self._moving) >= self._capacity:
            victim = evict(
                {other: held.used_at for other, held in self._held.items()},
                busy=[other for other, held in self._held.items() if held.active],
                pinned=[other for other, held in self._held.items() if held.pinned],
            )
            if victim is None:
                raise SlotsFull("Every adapter slot of this engine is in use or pinned.")
        self._moving[name] = number
        if victim is not None:
            gone = self._drop(victim)
            log.info("adapter.evicted", adapter=victim, by=name)
            try:
                await self._engine.remove(gone.number)
            except BaseException:
                del self._moving[name]
                raise

    async def _bring_in(self, adapter: Adapter, candidate: Candidate) -> None:
        """Load the weights and let them prove that they answer; leave nothing behind otherwise."""
        proven = False
        try:
            await self._engine.add(*adapter)
            async with asyncio.timeout(self._patience.canary.total_seconds()):
                await candidate.prove(adapter)
            proven = True
        except TimeoutError as error:
            raise EngineFailed("The engine did not score the adapter's canary in time.") from error
        finally:
            if not proven:
                await self._engine.remove(adapter[1])

    async def _judge(self, adapter: Adapter, canary: Canary) -> None:
        verdict = judge(canary, tuple(await self._engine.score(adapter, canary.prompt_ids, canary.answer_ids)))
        log.info("canary.judged", adapter=adapter[0], passed=verdict.passed, reason=verdict.reason)
        if not verdict.passed:
            raise AdapterRejected(f"The adapter's canary failed: {verdict.reason}.")

    async def _drain(self, text: str, held: _Held) -> None:
        try:
            async with asyncio.timeout(self._patience.drain.total_seconds()):
                await held.idle.wait()
        except BaseException as error:
            self._held[text] = held
            if isinstance(error, TimeoutError):
                raise AdapterBusy(f"Requests for {text} are still running: try again.") from error
            raise

    def _drop(self, name: str) -> _Held:
        self._engine.unregister(name)
        return self._held.pop(name)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


def _parse(text: str) -> AdapterName:
    try:
        return AdapterName.parse(text)
    except InvalidValue as error:
        raise InvalidName(str(error), "name") from error
