import dataclasses
import json
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr
from redis.exceptions import ConnectionError as Unreachable

from app.core.engines import EngineRecord
from app.engines.client import EngineClient
from app.stores.engines import EngineStore
from app.stores.redis import Registry, connect
from workers.engine.agent import Agent, Superseded

ME = "here-8100"
A, B, C = "a", "b", "c"
COMPOSITE = f"acme.cmp_{1:026d}.v1.{'a' * 12}"
TTL = timedelta(seconds=10)
RECORD = EngineRecord(
    id=ME,
    url="http://engine",
    epoch=1,
    base_digest="d",
    device="cpu",
    max_loras=2,
    capacity=2,
    max_lora_rank=16,
    max_model_len=2048,
    vllm="0.32.0",
    started_at=1.0,
    heartbeat_at=1.0,
)


class Engine:
    """An engine's HTTP side: holds names, notes what it is asked to do."""

    def __init__(self, *names: str) -> None:
        self.used_at = dict.fromkeys(names, 0.0)
        self.active: set[str] = set()
        self.pinned: set[str] = set()
        self.done: list[str] = []
        self.refusals: dict[str, tuple[int, str]] = {}
        self.healthy = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            return httpx.Response(200 if self.healthy else 503)
        verb, name = self._read(request)
        if verb == "list":
            return httpx.Response(200, json={"data": [self._row(name) for name in self.used_at]})
        self.done.append(f"{verb} {name}")
        if name in self.refusals:
            status, code = self.refusals[name]
            return httpx.Response(status, json={"error": {"message": "no", "code": code}})
        if verb == "load":
            self.used_at[name] = 0.0
        if verb == "remove":
            del self.used_at[name]
        return httpx.Response(200, json={"load_ms": 1.0, "cold": True, "removed": True})

    def _row(self, name: str) -> dict[str, object]:
        row = {"name": name, "used_at": self.used_at[name], "loaded_at": 1.0, "load_ms": 2.0}
        return row | {"active": int(name in self.active), "pinned": name in self.pinned}

    def _read(self, request: httpx.Request) -> tuple[str, str]:
        parts = request.url.path.split("/")[3:]
        if request.method == "DELETE":
            return "remove", parts[0]
        if request.method == "GET":
            return "list", ""
        return (parts[1], parts[0]) if parts else ("load", json.loads(request.content)["name"])


@pytest.fixture
def store(redis: Registry) -> EngineStore:
    return EngineStore(redis)


def agent(engine: Engine, store: EngineStore, epoch: int = 1) -> Agent:
    http = httpx.AsyncClient(transport=httpx.MockTransport(engine))
    record = dataclasses.replace(RECORD, epoch=epoch)
    return Agent(record, store, EngineClient(http, SecretStr("k")), clock=lambda: 50.0)


async def test_a_beat_reports_what_the_engine_holds(store: EngineStore) -> None:
    assert await agent(Engine(A, B), store).beat(TTL)

    (record,) = await store.live()
    assert set(record.resident) == {A, B}
    assert record.heartbeat_at == 50.0


async def test_an_unhealthy_engine_is_not_reported(store: EngineStore) -> None:
    engine = Engine(A)
    engine.healthy = False

    assert not await agent(engine, store).beat(TTL)
    assert await store.live() == []


async def test_a_superseded_agent_ends(store: EngineStore) -> None:
    await agent(Engine(), store, epoch=10).beat(TTL)

    with pytest.raises(Superseded):
        await agent(Engine(), store, epoch=9).beat(TTL)


async def test_a_running_agent_ends_when_it_is_superseded(store: EngineStore, redis: Registry) -> None:
    await redis.set("lk:engine:epoch", 4)
    await agent(Engine(), store, epoch=10).beat(TTL)

    with pytest.raises(Superseded):
        await agent(Engine(), store).run(timedelta(0), TTL)


async def test_each_agent_takes_a_higher_epoch_and_withdraws_only_its_own(store: EngineStore) -> None:
    first, second = agent(Engine(A), store), agent(Engine(B), store)
    for each in (first, second):
        assert await each.enrol()
        await each.beat(TTL)
    await first.withdraw()
    (record,) = await store.live()
    await second.withdraw()

    assert set(record.resident) == {B}
    assert await store.live() == []


async def test_desired_adapters_are_loaded_and_the_rest_unloaded(store: EngineStore) -> None:
    engine = Engine(A)
    await store.desire(ME, B, 1.0)
    await agent(engine, store).reconcile()

    assert engine.done == ["remove a", "load b"]


async def test_nothing_is_done_twice(store: EngineStore) -> None:
    engine = Engine(A)
    await store.desire(ME, A, 1.0)
    await agent(engine, store).reconcile()

    assert engine.done == []


async def test_what_there_is_no_room_for_is_no_longer_desired(store: EngineStore) -> None:
    engine = Engine()
    for at, name in enumerate((A, B, C), 1):
        await store.desire(ME, name, float(at))
    await agent(engine, store).reconcile()

    assert engine.done == ["load c", "load b"]
    assert set(await store.desired(ME)) == {B, C}


async def test_an_adapter_in_use_stays_though_another_was_asked_for_later(store: EngineStore) -> None:
    engine = Engine(A, B)
    engine.used_at[A] = 9.0
    for at, name in enumerate((A, B, C), 1):
        await store.desire(ME, name, float(at))
    await agent(engine, store).reconcile()

    assert engine.done == ["remove b", "load c"]


async def test_an_adapter_whose_answer_is_still_being_written_stays_though_others_were_asked_for_since(
    store: EngineStore,
) -> None:
    engine = Engine(A, C)  # for C the engine evicted B: A was busy
    engine.active = {A}
    for at, name in enumerate((A, B, C), 1):
        await store.desire(ME, name, float(at))
    await agent(engine, store).reconcile()

    assert engine.done == []
    assert set(await store.desired(ME)) == {A, C}


async def test_a_pinned_adapter_goes_first(store: EngineStore) -> None:
    engine = Engine()
    await store.pin(A)
    for at, name in enumerate((A, B, C), 1):
        await store.desire(ME, name, float(at))
    await agent(engine, store).reconcile()

    assert set(engine.used_at) == {A, C}


async def test_a_pin_alone_makes_no_engine_load(store: EngineStore) -> None:
    engine = Engine()
    await store.pin(A)
    await agent(engine, store).reconcile()

    assert engine.done == []


async def test_pins_follow_the_registry(store: EngineStore) -> None:
    engine = Engine(A, B)
    engine.pinned = {B}
    await store.pin(A)
    await store.desire(ME, A, 1.0)
    await store.desire(ME, B, 1.0)
    await agent(engine, store).reconcile()

    assert sorted(engine.done) == ["pin a", "unpin b"]


@pytest.mark.parametrize(("status", "code"), [(502, "adapter_rejected"), (404, "not_found"), (400, "invalid_name")])
async def test_an_adapter_that_can_never_load_is_no_longer_desired(store: EngineStore, status: int, code: str) -> None:
    engine = Engine()
    engine.refusals[A] = (status, code)
    await store.desire(ME, A, 2.0)
    await store.desire(ME, B, 1.0)
    await agent(engine, store).reconcile()

    assert set(engine.used_at) == set(await store.desired(ME)) == {B}


async def test_an_adapter_for_which_there_is_no_slot_yet_stays_desired(store: EngineStore) -> None:
    engine = Engine()
    engine.refusals[A] = (409, "slots_full")
    await store.desire(ME, A, 1.0)
    await agent(engine, store).reconcile()

    assert set(await store.desired(ME)) == {A}


async def test_a_busy_adapter_is_unloaded_at_a_later_time(store: EngineStore) -> None:
    engine = Engine(A)
    engine.refusals[A] = (409, "adapter_busy")
    await store.desire(ME, B, 1.0)
    await agent(engine, store).reconcile()
    del engine.refusals[A]
    await agent(engine, store).reconcile()

    assert set(engine.used_at) == {B}


async def test_an_agent_waits_for_a_registry_that_is_away(tmp_path: object) -> None:
    redis = connect(f"unix://{tmp_path}/none", retries=0)
    away = agent(Engine(), EngineStore(redis))

    assert not await away.enrol()
    with pytest.raises(Unreachable):
        await away.reconcile()
    await away.withdraw()
    await redis.aclose()


async def test_a_composite_in_use_stays_and_a_missing_one_is_left_to_who_asks_for_it(store: EngineStore) -> None:
    engine = Engine(COMPOSITE)
    await store.desire(ME, COMPOSITE, 1.0)
    await agent(engine, store).reconcile()
    engine.used_at.clear()
    await agent(engine, store).reconcile()

    assert engine.done == []
    assert set(await store.desired(ME)) == {COMPOSITE}


async def test_a_composite_that_nobody_brought_in_is_no_longer_desired(store: EngineStore) -> None:
    await store.desire(ME, COMPOSITE, -1000.0)
    await agent(Engine(), store).reconcile()

    assert await store.desired(ME) == {}


async def test_a_composite_that_nobody_desires_is_unloaded(store: EngineStore) -> None:
    engine = Engine(COMPOSITE)
    await agent(engine, store).reconcile()

    assert engine.done == [f"remove {COMPOSITE}"]
