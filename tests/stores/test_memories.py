"""Memories on a real server."""

import asyncio
import itertools

import pytest

from app.core.memory import Memory, Version
from app.errors import DuplicateContent, IdempotencyMismatch, MemoryNotFound, NameTaken
from app.stores.erasures import Debt, ErasureStore
from app.stores.events import EventStore
from app.stores.memories import Idempotency, MemoryStore
from app.stores.redis import Registry
from app.stores.versions import VersionStore
from tests.factories import a_memory, a_version, memory_id
from tests.stores.lost_replies import SentTwice

pytestmark = pytest.mark.redis


@pytest.fixture
def store(redis: Registry) -> MemoryStore:
    return MemoryStore(redis)


async def accept(store: MemoryStore, **fields: object) -> tuple[Memory, Version]:
    memory = a_memory(**fields)
    version = a_version(memory)
    await store.create(memory, version)
    return memory, version


async def test_a_memory_is_readable_as_soon_as_it_is_accepted(store: MemoryStore, redis: Registry) -> None:
    memory, version = await accept(store)

    assert await store.get("acme", memory.id) == memory
    assert await store.find("acme", memory.name) == memory
    assert await VersionStore(redis).of(memory) == [version]
    assert [job.memory_id for job in await VersionStore(redis).open_jobs()] == [memory.id]
    assert [event.data["state"] for event in await EventStore(redis).read("acme", memory.id)] == ["queued"]


async def test_another_tenants_memory_does_not_exist(store: MemoryStore) -> None:
    memory, _ = await accept(store)

    for key in (memory.id, memory.name):
        with pytest.raises(MemoryNotFound):
            await store.find("other", key)
    assert await store.page("other", limit=10) == ([], False)


async def test_two_tenants_may_use_one_name_and_one_content(store: MemoryStore) -> None:
    first, _ = await accept(store, name="handbook", content="same")
    second, _ = await accept(store, name="handbook", content="same", tenant="other")

    assert (await store.find("acme", "handbook")).id == first.id
    assert (await store.find("other", "handbook")).id == second.id


async def test_a_taken_name_leaves_no_trace(store: MemoryStore, redis: Registry) -> None:
    await accept(store, name="handbook")
    before = sorted(await redis.keys("*"))

    with pytest.raises(NameTaken):
        await accept(store, name="handbook")
    assert sorted(await redis.keys("*")) == before


async def test_a_memory_and_its_guards_are_accepted_in_one_step(store: MemoryStore, redis: Registry) -> None:
    memory = a_memory()
    guards = [a_memory(id=memory_id().replace("mem_", "lng_"), metadata={"memory": memory.id}) for _ in range(2)]
    await store.create(memory, a_version(memory), guards=[(guard, a_version(guard)) for guard in guards])

    assert [await store.get("acme", guard.id) for guard in guards] == guards
    assert {guard.id for guard in await store.guards_on("acme", {memory.id})} == {guard.id for guard in guards}
    assert await store.guards_on("acme", {"mem_other"}) == []
    jobs = {job.memory_id for job in await VersionStore(redis).open_jobs()}
    assert jobs == {memory.id, *[guard.id for guard in guards]}
    assert [event.data["state"] for event in await EventStore(redis).read("acme", guards[1].id)] == ["queued"]


async def test_a_guards_taken_name_leaves_no_trace_of_its_memory(store: MemoryStore, redis: Registry) -> None:
    await accept(store, id=memory_id().replace("mem_", "lng_"), name="ko 1")
    before, memory = sorted(await redis.keys("*")), a_memory()
    guard = a_memory(id=memory_id().replace("mem_", "lng_"), name="ko 1")

    with pytest.raises(NameTaken):
        await store.create(memory, a_version(memory), guards=[(guard, a_version(guard))])
    assert sorted(await redis.keys("*")) == before


async def test_the_same_documents_twice_name_the_memory_they_already_are(store: MemoryStore) -> None:
    memory, _ = await accept(store, content="same")

    with pytest.raises(DuplicateContent, match=memory.id):
        await accept(store, content="same")


async def test_a_copy_that_is_allowed_is_the_one_that_is_named_only_where_it_is_the_first(store: MemoryStore) -> None:
    first, second = a_memory(content="same"), a_memory(content="same")
    for memory in (first, second):
        await store.create(memory, a_version(memory), unique_content=False)

    with pytest.raises(DuplicateContent, match=first.id):
        await accept(store, content="same")


async def test_once_a_memory_is_deleted_its_oldest_copy_is_the_one_that_is_named(store: MemoryStore) -> None:
    memories = sorted((a_memory(content="same") for _ in range(3)), key=lambda memory: memory.id)
    for memory in (*memories, a_memory(), a_memory(id=memory_id().replace("mem_", "lng_"), content="same")):
        await store.create(memory, a_version(memory), unique_content=False)

    for deleted, copy in itertools.pairwise(memories):
        await store.bury(deleted, {"id": deleted.id})
        with pytest.raises(DuplicateContent, match=copy.id):
            await accept(store, content="same")
    await store.bury(memories[-1], {"id": memories[-1].id})
    await accept(store, content="same")


async def test_only_one_of_many_simultaneous_uploads_gets_a_name(store: MemoryStore) -> None:
    results = await asyncio.gather(*[accept(store, name="one") for _ in range(20)], return_exceptions=True)

    assert sum(not isinstance(result, NameTaken) for result in results) == 1


async def test_an_idempotency_key_makes_one_memory(store: MemoryStore) -> None:
    once = Idempotency("k", "digest")
    first, second = a_memory(name="one"), a_memory(name="one")

    assert await store.create(first, a_version(first), once=once) == (first.id, True)
    assert await store.create(second, a_version(second), once=once) == (first.id, False)
    assert await store.seen("acme", once) == first.id
    with pytest.raises(IdempotencyMismatch):
        await store.create(second, a_version(second), once=Idempotency("k", "another"))


async def test_an_idempotency_key_whose_memory_was_deleted_makes_another(store: MemoryStore) -> None:
    once = Idempotency("k", "digest")
    first, second = a_memory(name="one"), a_memory(name="one")
    await store.create(first, a_version(first), once=once)
    await store.bury(first, {"id": first.id})

    assert await store.seen("acme", once) is None
    assert await store.create(second, a_version(second), once=once) == (second.id, True)
    assert await store.seen("acme", once) == second.id


async def test_pages_walk_through_all_memories_newest_first(store: MemoryStore) -> None:
    ids = [(await accept(store))[0].id for _ in range(5)]
    seen: list[str] = []
    more, after = True, ""
    while more:
        page, more = await store.page("acme", limit=2, after=after)
        seen += [memory.id for memory in page]
        after = seen[-1]

    assert seen == sorted(ids, reverse=True)


async def test_renaming_frees_the_old_name(store: MemoryStore) -> None:
    memory, _ = await accept(store, name="old")
    await store.rename("acme", memory.id, "new")

    assert (await store.find("acme", "new")).name == "new"
    await accept(store, name="old")
    with pytest.raises(NameTaken):
        await store.rename("acme", memory.id, "old")


async def test_a_buried_memory_is_gone_for_every_reader_and_its_erasure_is_owed(
    store: MemoryStore, redis: Registry
) -> None:
    memory, _ = await accept(store, name="gone", content="gone")

    assert await store.bury(memory, {"name": "gone"}) == 1
    assert await store.bury(memory, {"name": "gone"}) == 0
    with pytest.raises(MemoryNotFound):
        await store.update("acme", memory.id, {"pinned": True})
    with pytest.raises(MemoryNotFound):
        await store.find("acme", "gone")
    assert await VersionStore(redis).open_jobs() == []
    assert await ErasureStore(redis).owed() == [Debt("acme", memory.id)]
    await accept(store, name="gone", content="gone")


async def test_a_call_sent_again_after_a_lost_reply_does_no_harm(redis: Registry) -> None:
    store = MemoryStore(SentTwice(redis))
    memory, _ = await accept(store, name="old")
    await store.update("acme", memory.id, {"pinned": True})
    await store.rename("acme", memory.id, "new")
    renamed = await store.find("acme", "new")
    await store.bury(memory, {"name": "new"})

    assert (renamed.id, renamed.name, renamed.pinned) == (memory.id, "new", True)
    assert await ErasureStore(redis).owed() == [Debt("acme", memory.id)]
    await accept(store, name="new")


async def test_a_settled_erasure_leaves_its_receipt(store: MemoryStore, redis: Registry) -> None:
    memory, _ = await accept(store)
    await store.bury(memory, {"name": memory.name, "deleted_at": 1.0})
    erasures = ErasureStore(redis)
    await erasures.settle(Debt("acme", memory.id), {"files": 3})

    receipt = await erasures.tombstone("acme", memory.id)
    assert (receipt["name"], receipt["files"]) == (memory.name, 3)
    assert await erasures.owed() == []
