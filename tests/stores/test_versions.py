"""Versions, leases and fencing on a real server."""

import dataclasses
from collections.abc import Mapping

import pytest

from app.core.lifecycle import State
from app.core.memory import Memory, Version
from app.errors import DuplicateContent, LeaseLost, MemoryNotFound, StateConflict
from app.stores.engines import EngineStore
from app.stores.events import EventStore
from app.stores.memories import MemoryStore
from app.stores.redis import Registry
from app.stores.versions import Job, VersionStore
from tests.factories import a_memory, a_version
from tests.stores.lost_replies import SentTwice

pytestmark = pytest.mark.redis


@pytest.fixture
def store(redis: Registry) -> VersionStore:
    return VersionStore(redis)


@pytest.fixture
async def accepted(redis: Registry) -> tuple[Memory, Version]:
    memory = a_memory()
    version = a_version(memory)
    await MemoryStore(redis).create(memory, version)
    return memory, version


def job_of(version: Version) -> Job:
    return Job(version.tenant, version.memory_id, version.number)


async def test_only_one_trainer_can_claim_a_job(store: VersionStore, accepted: tuple[Memory, Version]) -> None:
    job = job_of(accepted[1])

    assert [await store.claim(job, lease_s=30) for _ in range(3)] == [1, 0, 0]


async def test_a_job_whose_lease_is_over_goes_to_the_next_trainer_and_fences_the_first(
    store: VersionStore, accepted: tuple[Memory, Version]
) -> None:
    version = accepted[1]
    job = job_of(version)
    first = await store.claim(job, lease_s=30)
    version = await store.change(version, State.PREPARING, fence=first)
    await store.release(job, first)

    assert await store.claim(job, lease_s=30) == first + 1
    assert not await store.renew(job, first, lease_s=30)
    with pytest.raises(LeaseLost):
        await store.change(version, State.TRAINING, fence=first)
    again = await store.get(version.tenant, version.memory_id, 1)
    assert (again.state, again.attempt) == (State.QUEUED, 2)


async def test_an_expired_lease_cannot_publish_even_when_nobody_else_claimed(
    store: VersionStore, accepted: tuple[Memory, Version]
) -> None:
    version = accepted[1]
    fence = await store.claim(job_of(version), lease_s=30)
    await store.release(job_of(version), fence)

    with pytest.raises(LeaseLost):
        await store.change(version, State.PREPARING, fence=fence)


async def test_each_change_of_state_is_an_event_and_the_end_closes_the_job(
    store: VersionStore, redis: Registry, accepted: tuple[Memory, Version]
) -> None:
    memory, version = accepted
    fence = await store.claim(job_of(version), lease_s=30)
    for state in (State.PREPARING, State.TRAINING, State.EVALUATING, State.PUBLISHING):
        version = await store.change(version, state, fence=fence)
    await store.progress(version, fence, {"stage": "training", "step": 3})
    version = await store.change(
        version, State.READY, fence=fence, fields={"adapter": "a"}, memory_fields={"current": 1}
    )

    assert dataclasses.replace(await store.get("acme", memory.id, 1), updated_at=0.0) == dataclasses.replace(
        version, fence=1, lease_until=(await store.get("acme", memory.id, 1)).lease_until, attempt=1,
        progress={"stage": "training", "step": 3}, updated_at=0.0,
    )  # fmt: skip
    assert (await MemoryStore(redis).get("acme", memory.id)).current == 1
    assert await store.open_jobs() == []
    events = await EventStore(redis).read("acme", memory.id)
    assert [event.data.get("state", event.kind) for event in events] == [
        "queued", "preparing", "training", "evaluating", "publishing", "progress", "ready",
    ]  # fmt: skip
    resumed = await EventStore(redis).read("acme", memory.id, events[4].id)
    assert [event.id for event in resumed] == [event.id for event in events[5:]]


async def test_a_state_that_somebody_else_changed_is_a_conflict(
    store: VersionStore, accepted: tuple[Memory, Version]
) -> None:
    version = accepted[1]
    await store.change(version, State.CANCELLED)

    with pytest.raises(StateConflict):
        await store.change(version, State.CANCELLED)


async def test_cancelling_takes_the_job_from_the_trainer_and_retry_opens_it_again(
    store: VersionStore, accepted: tuple[Memory, Version]
) -> None:
    version = accepted[1]
    fence = await store.claim(job_of(version), lease_s=30)
    version = await store.get(version.tenant, version.memory_id, 1)
    cancelled = await store.change(version, State.CANCELLED)

    assert not await store.renew(job_of(version), fence, lease_s=30)
    assert await store.open_jobs() == []
    await store.change(cancelled, State.QUEUED)
    assert await store.open_jobs() == [job_of(version)]
    assert await store.claim(job_of(version), lease_s=30) > fence


async def test_a_deleted_memorys_trainer_can_write_nothing(
    store: VersionStore, redis: Registry, accepted: tuple[Memory, Version]
) -> None:
    memory, version = accepted
    fence = await store.claim(job_of(version), lease_s=30)
    await MemoryStore(redis).bury(memory, {"name": memory.name})

    with pytest.raises(MemoryNotFound):
        await store.change(version, State.PREPARING, fence=fence)
    assert await store.claim(job_of(version), lease_s=30) == 0


async def test_a_new_version_leaves_the_current_one_serving(
    store: VersionStore, redis: Registry, accepted: tuple[Memory, Version]
) -> None:
    memory = accepted[0]
    await MemoryStore(redis).update("acme", memory.id, {"current": 1})
    await store.add(memory, a_version(memory, number=2), content="union")

    now = await MemoryStore(redis).get("acme", memory.id)
    assert (now.latest, now.current, now.content) == (2, 1, "union")
    with pytest.raises(StateConflict):
        await store.add(memory, a_version(memory, number=2), content="another")


async def test_once_a_memory_has_more_documents_a_copy_of_what_it_was_is_the_one_that_is_named(redis: Registry) -> None:
    memories, versions = MemoryStore(redis), VersionStore(SentTwice(redis))
    first, copy, third = (a_memory(content="same") for _ in range(3))
    for memory in (first, copy):
        await memories.create(memory, a_version(memory), unique_content=False)
    await versions.add(first, a_version(first, number=2), content="more")

    with pytest.raises(DuplicateContent, match=copy.id):
        await memories.create(third, a_version(third))
    with pytest.raises(DuplicateContent, match=first.id):
        await versions.add(copy, a_version(copy, number=2), content="more")


async def test_of_two_versions_that_are_published_at_once_the_later_serves(
    store: VersionStore, redis: Registry, accepted: tuple[Memory, Version]
) -> None:
    memory, first = accepted
    second = a_version(memory, number=2)
    await store.add(memory, second, content="union")
    fences = {one.number: await store.claim(job_of(one), lease_s=30) for one in (first, second)}

    for number, version in ((2, second), (1, first)):
        moved = version
        for state in (State.PREPARING, State.TRAINING, State.EVALUATING, State.PUBLISHING):
            moved = await store.change(moved, state, fence=fences[number])
        await store.change(moved, State.READY, fence=fences[number], memory_fields={"current": number})

    assert (await MemoryStore(redis).get("acme", memory.id)).current == 2
    assert (await store.get("acme", memory.id, 1)).state is State.READY


async def test_the_pins_of_a_pinned_memory_move_in_the_step_that_publishes(
    store: VersionStore, redis: Registry, accepted: tuple[Memory, Version]
) -> None:
    memory, first = accepted
    engines, second = EngineStore(redis), a_version(memory, number=2)
    await MemoryStore(redis).update("acme", memory.id, {"pinned": True})
    await store.add(memory, second, content="union")
    await engines.pin("a stranger's")
    pinned = []

    for version, fields in ((first, {"adapter": "a"}), (second, {"adapter": "b1", "parts": ("b1", "b2")})):
        await publish(store, version, fields)
        pinned.append(await engines.pinned())

    assert pinned == [{"a stranger's", "a"}, {"a stranger's", "b1", "b2"}]


async def test_publishing_leaves_the_pins_of_a_memory_that_is_not_pinned(
    store: VersionStore, redis: Registry, accepted: tuple[Memory, Version]
) -> None:
    memory, first = accepted
    engines, second = EngineStore(redis), a_version(memory, number=2)
    await store.add(memory, second, content="union")
    await publish(store, first, {"adapter": "a"})
    await engines.pin("a")  # by itself
    await publish(store, second, {"adapter": "b"})

    assert await engines.pinned() == {"a"}


async def publish(store: VersionStore, version: Version, fields: Mapping[str, object]) -> None:
    """Carry a version from its claim to the step that makes it serve."""
    fence = await store.claim(job_of(version), lease_s=30)
    for state in (State.PREPARING, State.TRAINING, State.EVALUATING, State.PUBLISHING):
        version = await store.change(version, state, fence=fence)
    await store.change(version, State.READY, fence=fence, fields=fields, memory_fields={"current": version.number})


async def test_a_version_keeps_the_names_of_its_parts(store: VersionStore, accepted: tuple[Memory, Version]) -> None:
    version = accepted[1]
    names = tuple(f"acme.{version.memory_id}.v1.{n * 12}" for n in "12")
    await store.restore(dataclasses.replace(version, adapter=names[0], parts=names))
    kept = await store.get("acme", version.memory_id, 1)

    assert (kept.parts, kept.adapters) == (names, names)
    assert dataclasses.replace(kept, parts=()).adapters == names[:1]
    assert version.adapters == ()


@pytest.fixture
def sent_twice(redis: Registry) -> VersionStore:
    return VersionStore(SentTwice(redis))


async def told(redis: Registry, memory: Memory) -> list[str]:
    events = await EventStore(redis).read("acme", memory.id)
    return [f"{event.data['state']} {event.data['version']}" for event in events]


async def test_a_trainers_calls_sent_again_after_a_lost_reply_answer_as_the_first_time(
    sent_twice: VersionStore, redis: Registry, accepted: tuple[Memory, Version]
) -> None:
    memory, version = accepted
    job = job_of(version)
    fence = await sent_twice.claim(job, lease_s=30)
    attempt = (await sent_twice.get("acme", memory.id, 1)).attempt
    for state in (State.PREPARING, State.TRAINING, State.EVALUATING, State.PUBLISHING):
        version = await sent_twice.change(version, state, fence=fence)
    renewed = await sent_twice.renew(job, fence, lease_s=30)
    await sent_twice.change(version, State.READY, fence=fence, fields={"adapter": "a"}, memory_fields={"current": 1})

    assert (fence, attempt, renewed) == (1, 1, True)
    assert await told(redis, memory) == [
        f"{state} 1" for state in ("queued", "preparing", "training", "evaluating", "publishing", "ready")
    ]
    assert await sent_twice.claim(job, lease_s=30) == 0


async def test_a_users_calls_sent_again_after_a_lost_reply_answer_as_the_first_time(
    sent_twice: VersionStore, redis: Registry, accepted: tuple[Memory, Version]
) -> None:
    memory, version = accepted
    await sent_twice.change(await sent_twice.change(version, State.CANCELLED), State.QUEUED)
    await sent_twice.add(memory, a_version(memory, number=2), content="union")

    assert await told(redis, memory) == ["queued 1", "cancelled 1", "queued 1", "queued 2"]
    assert len(await sent_twice.open_jobs()) == 2
    with pytest.raises(StateConflict):
        await sent_twice.add(memory, a_version(memory, number=2), content="another")
