"""Seats: counted exactly, given in order, never on an engine with no room."""

import asyncio
import time

import httpx
import pytest
from pydantic import SecretStr

from app.core.composition import Composition
from app.core.engines import EngineRecord
from app.core.names import AdapterName
from app.engines.client import EngineClient
from app.engines.fleet import Fleet, Seat
from app.errors import Busy, CompositeRejected, EngineFailed, EngineTimeout, NoEngine
from app.stores.engines import EngineStore
from app.stores.redis import Registry
from tests.api.fake_engine import Engine, transport

pytestmark = pytest.mark.redis


class Room:
    """A fleet, and requests that stay until they are told to go."""

    def __init__(self, redis: Registry, engines: list[Engine], wait_s: float = 5) -> None:
        self.store = EngineStore(redis)
        self.http = httpx.AsyncClient(transport=transport(*engines))
        self.fleet = Fleet(self.store, EngineClient(self.http, SecretStr("lke_x")), wait_s=wait_s)
        self.engines = engines
        self.seated: list[str] = []
        self._go: dict[str, asyncio.Event] = {}

    async def open(self) -> None:
        for engine in self.engines:
            await engine.report(self.store)
        await self.fleet.refresh()

    def enter(self, who: str, adapter: str | None) -> asyncio.Task[Seat]:
        self._go[who] = asyncio.Event()
        return asyncio.create_task(self._stay(who, adapter))

    def leave(self, who: str) -> None:
        self._go[who].set()

    async def placed(self, count: int) -> None:
        """Wait until so many requests in all have been seated or stand in line."""
        async with asyncio.timeout(5):
            while len(self.seated) + self.fleet.waiting < count:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0)

    async def _stay(self, who: str, adapter: str | None) -> Seat:
        async with self.fleet.seat(adapter) as seat:
            self.seated.append(who)
            await self._go[who].wait()
            return seat


async def test_distinct_adapters_never_exceed_an_engines_slots(redis: Registry) -> None:
    room = Room(redis, [Engine("one", max_loras=2)])
    await room.open()
    tasks = [room.enter(name, name) for name in "abcd"]
    await room.placed(4)

    assert sorted(room.seated) == ["a", "b"]
    for name in "abcd":
        room.leave(name)
    await asyncio.gather(*tasks)
    assert sorted(room.seated) == ["a", "b", "c", "d"]
    assert room.fleet.in_flight == 0


async def test_those_who_wait_are_seated_in_the_order_they_came(redis: Registry) -> None:
    room = Room(redis, [Engine("one", max_loras=1)])
    await room.open()
    tasks = [room.enter(who, adapter) for who, adapter in [("1", "a"), ("2", "b"), ("3", "a"), ("4", "c")]]
    for who, task in zip("1234", tasks, strict=True):
        await room.placed(4)
        room.leave(who)
        await task

    assert room.seated == ["1", "2", "3", "4"]


async def test_the_base_model_needs_no_adapter_slot_and_does_not_wait(redis: Registry) -> None:
    room = Room(redis, [Engine("one", max_loras=1)])
    await room.open()
    tasks = [room.enter("1", "a"), room.enter("2", "b"), room.enter("3", None)]
    await room.placed(3)

    assert sorted(room.seated) == ["1", "3"]
    for who in "123":
        room.leave(who)
    await asyncio.gather(*tasks)


async def test_a_wait_that_is_too_long_is_busy_and_leaves_the_line(redis: Registry) -> None:
    room = Room(redis, [Engine("one", max_loras=1)], wait_s=0.05)
    await room.open()
    first = room.enter("1", "a")
    await room.placed(1)
    with pytest.raises(Busy):
        await room.enter("2", "b")
    room.leave("1")
    await first
    third = room.enter("3", "b")
    room.leave("3")

    assert (await third).engine.id == "one"
    assert Busy.retry_after_s


async def test_a_request_that_gives_up_waiting_lets_the_next_one_through(redis: Registry) -> None:
    room = Room(redis, [Engine("one", max_loras=1)])
    await room.open()
    first, second, third = room.enter("1", "a"), room.enter("2", "b"), room.enter("3", "c")
    await room.placed(3)
    second.cancel()
    room.leave("1")
    room.leave("3")
    await asyncio.gather(first, third)

    assert room.seated == ["1", "3"]
    assert room.fleet.in_flight == 0


async def test_with_one_engine_full_the_other_takes_the_next_adapter(redis: Registry) -> None:
    room = Room(redis, [Engine("one", max_loras=1), Engine("two", max_loras=1)])
    await room.open()
    tasks = [room.enter("1", "a"), room.enter("2", "b")]
    await room.placed(2)
    room.leave("1")
    room.leave("2")

    assert sorted([(await task).engine.id for task in tasks]) == ["one", "two"]


async def test_no_engine_is_said_at_once(redis: Registry) -> None:
    room = Room(redis, [])
    with pytest.raises(NoEngine):
        await room.enter("1", "a")


async def test_an_engine_that_fails_a_load_frees_the_seat_and_is_avoided(redis: Registry) -> None:
    engines = [Engine("one"), Engine("two")]
    room = Room(redis, engines)
    await room.open()
    engines[0].fail = [httpx.ConnectError] * 9
    with pytest.raises(EngineFailed):
        await room.enter("1", "a")
    second = room.enter("2", "a")
    room.leave("2")

    assert (await second).engine.id == "two"
    assert room.fleet.in_flight == 0


async def test_a_restarted_engine_is_not_thought_to_hold_what_it_held(redis: Registry) -> None:
    engine = Engine("one")
    room = Room(redis, [engine])
    await room.open()
    for who in "12":
        task = room.enter(who, "a")
        room.leave(who)
        await task
    engine.epoch += 1
    engine.held.clear()
    await room.open()
    third = room.enter("3", "a")
    room.leave("3")

    assert (await third).cold
    assert engine.loads == ["a", "a"]


async def test_what_is_loaded_on_a_requests_way_is_desired_first(redis: Registry) -> None:
    room = Room(redis, [Engine("one")])
    await room.open()
    task = room.enter("1", "a")
    room.leave("1")
    await task

    assert set(await room.store.desired("one")) == {"a"}


class Faltering(EngineStore):
    """A store that breaks once, and tells when it was read after that."""

    def __init__(self, redis: Registry) -> None:
        super().__init__(redis)
        self.breaks = [TypeError("a report that nobody understands")]
        self.read = asyncio.Event()

    async def live(self) -> list[EngineRecord]:
        if self.breaks:
            raise self.breaks.pop()
        found = await super().live()
        self.read.set()
        return found


async def test_a_watch_that_met_what_it_does_not_understand_goes_on(redis: Registry) -> None:
    store = Faltering(redis)
    await Engine("one").report(store)
    async with httpx.AsyncClient() as http:
        fleet = Fleet(store, EngineClient(http, SecretStr("lke_x")), wait_s=5)
        watching = asyncio.create_task(fleet.watch())
        async with asyncio.timeout(5):
            await store.read.wait()
        watching.cancel()

    assert [engine.id for engine in fleet.engines] == ["one"]


COMPOSITION = Composition.of("cat", [AdapterName("acme", f"mem_{number:026d}", 1, "a" * 12) for number in (1, 2)])
COMPOSITE = str(COMPOSITION.name)


async def sit(room: Room) -> Seat:
    async with room.fleet.seat(COMPOSITE, COMPOSITION) as seat:
        return seat


async def test_a_composite_is_composed_once_however_many_ask(redis: Registry) -> None:
    room = Room(redis, [Engine("one")])
    await room.open()
    seats = await asyncio.gather(*[sit(room) for _ in range(5)])

    assert sorted(seat.cold for seat in seats) == [False] * 4 + [True]
    assert {seat.composed["rank"] for seat in seats} == {8}
    assert room.engines[0].composes == 1
    assert COMPOSITE in await room.store.desired("one")


async def test_a_composite_that_another_gateway_composed_is_asked_for_how_it_was_made(redis: Registry) -> None:
    room = Room(redis, [Engine("one"), Engine("two")])
    await room.engines[1].report(room.store, COMPOSITE)
    await room.engines[0].report(room.store)
    await room.fleet.refresh()
    seat = await sit(room)

    assert (seat.engine.id, seat.cold, seat.load_ms, seat.composed) == ("two", False, 0.0, {"rank": 8})


async def test_a_composite_that_an_engine_lost_is_composed_again(redis: Registry) -> None:
    room = Room(redis, [Engine("one")])
    await room.open()
    await sit(room)
    room.engines[0].held.clear()
    room.fleet.forget("one", COMPOSITE)

    assert (await sit(room)).cold


async def test_a_composite_that_broke_gives_its_seat_back(redis: Registry) -> None:
    room = Room(redis, [Engine("one")])
    await room.open()
    room.engines[0].refuse_composites = True
    with pytest.raises(CompositeRejected, match=r"3\.00 nats"):
        await sit(room)

    assert room.fleet.in_flight == 0


async def test_a_composite_that_was_refused_takes_no_room_of_others(redis: Registry) -> None:
    room = Room(redis, [Engine("one")])
    await room.open()
    room.engines[0].refuse_composites = True
    with pytest.raises(CompositeRejected):
        await sit(room)

    assert await room.store.desired("one") == {}


async def test_a_composite_that_may_still_be_on_its_way_stays_desired(redis: Registry) -> None:
    room = Room(redis, [Engine("one")])
    await room.open()
    room.engines[0].fail = [httpx.ReadTimeout]
    with pytest.raises(EngineTimeout):
        await sit(room)

    assert set(await room.store.desired("one")) == {COMPOSITE}


async def test_a_composite_that_somebody_asked_for_since_stays_desired_though_it_was_refused(redis: Registry) -> None:
    room = Room(redis, [Engine("one")])
    await room.open()
    room.engines[0].refuse_composites = True
    await room.store.desire("one", COMPOSITE, time.time() + 60)
    with pytest.raises(CompositeRejected):
        await sit(room)

    assert set(await room.store.desired("one")) == {COMPOSITE}
