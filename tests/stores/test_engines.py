import dataclasses
import json

import pytest

from app.core.engines import EngineRecord, Residency, merged_use
from app.stores.engines import EngineStore
from app.stores.redis import Registry

A, B = "default.a.v1.0", "default.b.v1.0"
RECORD = EngineRecord(
    id="here-8100",
    url="http://127.0.0.1:8100",
    epoch=1,
    base_digest="d" * 64,
    device="cpu",
    max_loras=4,
    capacity=32,
    max_lora_rank=16,
    max_model_len=2048,
    vllm="0.32.0",
    started_at=10.0,
    heartbeat_at=20.5,
    resident={A: Residency(loaded_at=11.0, load_ms=52.5, used_at=12.0, active=2)},
)


@pytest.fixture
def store(redis: Registry) -> EngineStore:
    return EngineStore(redis)


async def test_a_report_is_read_back_whole(store: EngineStore) -> None:
    assert await store.report(RECORD, 10)

    assert await store.live() == [RECORD]


async def test_a_report_replaces_the_residency_of_the_one_before(store: EngineStore) -> None:
    await store.report(RECORD, 10)
    await store.report(dataclasses.replace(RECORD, resident={}), 10)

    assert (await store.live())[0].resident == {}


async def test_a_report_of_another_release_is_read_as_far_as_it_is_known(store: EngineStore, redis: Registry) -> None:
    newer = dataclasses.replace(RECORD, id="there-8100")
    await store.report(RECORD, 10)
    await store.report(newer, 10)
    await redis.hset("lk:engine:row:there-8100", "zone", '"eu"')
    held = json.dumps({**dataclasses.asdict(newer.resident[A]), "bytes": 7})
    await redis.hset("lk:engine:resident:there-8100", A, held)

    assert await store.live() == [RECORD, newer]


async def test_each_start_gets_a_higher_epoch(store: EngineStore) -> None:
    assert await store.next_epoch() < await store.next_epoch()


async def test_a_zombie_agent_cannot_overwrite_its_successor(store: EngineStore) -> None:
    successor = dataclasses.replace(RECORD, epoch=10, url="http://127.0.0.1:8200")
    await store.report(successor, 10)

    assert not await store.report(dataclasses.replace(RECORD, epoch=9), 10)
    assert await store.live() == [successor]


async def test_a_zombie_agent_cannot_withdraw_its_successor(store: EngineStore) -> None:
    await store.report(dataclasses.replace(RECORD, epoch=10), 10)
    await store.withdraw(RECORD.id, 9)

    assert len(await store.live()) == 1


async def test_a_withdrawn_engine_is_gone_at_once(store: EngineStore) -> None:
    await store.report(RECORD, 10)
    await store.withdraw(RECORD.id, RECORD.epoch)

    assert await store.live() == []


async def test_an_engine_whose_heartbeat_stopped_is_dropped(store: EngineStore, redis: Registry) -> None:
    await store.report(RECORD, 10)

    assert 0 < await redis.pttl("lk:engine:row:here-8100") <= 10_000
    assert 0 < await redis.pttl("lk:engine:resident:here-8100") <= 10_000
    await redis.delete("lk:engine:row:here-8100", "lk:engine:resident:here-8100")
    assert await store.live() == []
    assert await redis.smembers("lk:engine:ids") == set()


async def test_what_is_desired_outlives_the_engines_process(store: EngineStore) -> None:
    await store.report(RECORD, 10)
    await store.desire(RECORD.id, A, 5.0)
    await store.withdraw(RECORD.id, RECORD.epoch)
    await store.live()

    assert await store.desired(RECORD.id) == {A: 5.0}


async def test_an_older_ask_does_not_hide_a_newer_one(store: EngineStore) -> None:
    await store.desire(RECORD.id, A, 5.0)
    await store.desire(RECORD.id, A, 4.0)

    assert await store.desired(RECORD.id) == {A: 5.0}


async def test_trim_spares_an_adapter_asked_for_since(store: EngineStore) -> None:
    await store.desire(RECORD.id, A, 1753000000.123457)
    await store.desire(RECORD.id, B, 1753000000.5)
    seen = await store.desired(RECORD.id)
    await store.desire(RECORD.id, A, 1753000001.0)
    await store.trim(RECORD.id, seen)

    assert await store.desired(RECORD.id) == {A: 1753000001.0}


async def test_forget_reaches_every_engine_and_the_pins(store: EngineStore) -> None:
    for engine_id in ("one", "two"):
        await store.desire(engine_id, A, 1.0)
        await store.desire(engine_id, B, 1.0)
    await store.pin(A)
    await store.pin(B)
    await store.forget(A)

    assert await store.desired("one") == await store.desired("two") == {B: 1.0}
    assert await store.pinned() == {B}


async def test_unpin_takes_a_pin_back(store: EngineStore) -> None:
    await store.pin(A)
    await store.unpin(A)

    assert await store.pinned() == set()


def test_a_request_counts_as_an_ask() -> None:
    resident = {A: Residency(loaded_at=0, load_ms=1, used_at=9.0)}

    assert merged_use({A: 5.0, B: 6.0}, resident) == {A: 9.0, B: 6.0}


def test_what_is_in_use_is_wanted_more_than_whatever_was_asked_for_since() -> None:
    resident = {A: Residency(loaded_at=0, load_ms=1, used_at=1.0, active=1)}

    used = merged_use({A: 1.0, B: 6.0}, resident)

    assert max(used, key=used.__getitem__) == A


async def test_a_memory_that_is_gone_is_not_pinned(store: EngineStore) -> None:
    await store.pin_serving("acme", "mem_gone")

    assert await store.pinned() == set()
