"""A registry that was lost comes back from the artifacts; one that was not is left alone."""

import dataclasses
import shutil
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from redis.exceptions import ConnectionError

from app.core.lifecycle import State
from app.core.memory import Version
from app.core.names import AdapterName
from app.services.rebuild import Rebuilder, rebuild
from app.stores.engines import EngineStore
from app.stores.memories import MemoryStore
from app.stores.redis import Registry
from app.stores.versions import VersionStore
from tests.api.conftest import ADMIN, World, http, settings, world, write_version
from tests.stores.lost_replies import CutOff

__all__ = ["http", "settings", "world"]
pytestmark = pytest.mark.redis


async def remember(http: httpx.AsyncClient, name: str, **options: Any) -> str:
    body = {"name": name, "documents": [{"name": "a.md", "text": f"About {name}."}], "options": options}
    return str((await http.post("/v1/memories", json=body)).json()["id"])


def more(document: str) -> dict[str, Any]:
    return {"documents": [{"name": document, "text": f"More of {document}."}]}


async def remember_twice(world: World, http: httpx.AsyncClient, **options: Any) -> str:
    """Make a memory with two versions whose weights are there and passed their gate."""
    ada = await remember(http, "ada", **options)
    await http.post(f"/v1/memories/{ada}/documents", json=more("b.md"))
    for number in (1, 2):
        write_version(world.settings, adapter(ada, number))
    return ada


def adapter(memory_id: str, number: int = 1) -> AdapterName:
    return AdapterName("acme", memory_id, number, f"{number:x}" * 12)


async def lose_and_rebuild(world: World) -> dict[str, Any]:
    """Empty the registry and restore it; return how many memories went which way."""
    await world.redis.flushall()
    return await rebuilder(world).run()


def rebuilder(world: World, **stores: Any) -> Rebuilder:
    """Return a rebuilder on the gateway's stores, but for those given."""
    names = ("artifacts", "memories", "versions", "engines")
    return Rebuilder(*[stores.get(name, getattr(world.gateway, name)) for name in names])


async def test_a_lost_registry_comes_back_ready_where_published_and_queued_where_not(
    world: World, http: httpx.AsyncClient
) -> None:
    ada = await remember(http, "ada", metadata={"k": "v"}, pinned=True)
    bob, eve = await remember(http, "bob"), await remember(http, "eve")
    write_version(world.settings, adapter(ada))
    write_version(world.settings, adapter(bob), published=False)
    await world.redis.flushall()
    done = await rebuild(world.settings)
    memory = await world.gateway.memories.get("acme", ada)
    version = await world.gateway.versions.get("acme", ada, 1)

    assert done == {"ready": 1, "queued": 2, "cancelled": 0, "already_there": 0, "erased": 0, "name_taken": 0}
    assert (memory.name, memory.metadata, memory.pinned, memory.current) == ("ada", {"k": "v"}, True, 1)
    assert (version.state, version.adapter, version.scores) == (State.READY, str(adapter(ada)), {"adapter": 1.0})
    assert {job.memory_id for job in await world.gateway.versions.open_jobs()} == {bob, eve}


async def test_what_the_registry_holds_is_left_as_it_is(world: World, http: httpx.AsyncClient) -> None:
    ada = await remember(http, "ada")
    await world.gateway.memories.rename("acme", ada, "renamed")
    before = await world.gateway.memories.get("acme", ada)
    done = await rebuilder(world).run()

    assert done["already_there"] == 1
    assert await world.gateway.memories.get("acme", ada) == before


async def test_a_rebuild_done_twice_changes_nothing(world: World, http: httpx.AsyncClient) -> None:
    ada = await remember(http, "ada")
    write_version(world.settings, adapter(ada))
    await lose_and_rebuild(world)
    before = [await world.redis.hgetall(f"lk:t:acme:{kind}:{ada}") for kind in ("memory", "version")]
    await rebuilder(world).run()

    assert [await world.redis.hgetall(f"lk:t:acme:{kind}:{ada}") for kind in ("memory", "version")] == before


class NoRows(VersionStore):
    async def restore(self, version: Version) -> None:
        raise ConnectionError


CUT_OFF: dict[str, Callable[[Registry], dict[str, Any]]] = {
    "before its versions": lambda redis: {"versions": NoRows(redis)},
    "before itself": lambda redis: {"memories": MemoryStore(CutOff(redis, ConnectionError(), applied=False))},
    "after itself": lambda redis: {"memories": MemoryStore(CutOff(redis, ConnectionError(), applied=True))},
    "before its pin": lambda redis: {"engines": EngineStore(CutOff(redis, ConnectionError(), applied=False))},
}


@pytest.mark.parametrize("stores", CUT_OFF.values(), ids=CUT_OFF)
async def test_a_rebuild_that_was_cut_off_is_finished_by_the_next(
    world: World, http: httpx.AsyncClient, stores: Callable[[Registry], dict[str, Any]]
) -> None:
    ada = await remember_twice(world, http, pinned=True)
    await world.redis.flushall()
    with pytest.raises(ConnectionError):
        await rebuilder(world, **stores(world.redis)).run()
    await rebuilder(world).run()
    memory = await world.gateway.memories.get("acme", ada)
    versions = await world.gateway.versions.of(memory)

    assert (memory.current, memory.latest) == (2, 2)
    assert [version.state for version in versions] == [State.READY, State.READY]
    assert await world.gateway.engines.pinned() == {str(adapter(ada, 2))}


async def test_the_same_documents_are_refused_after_a_rebuild_as_before_and_copies_are_restored(
    world: World, http: httpx.AsyncClient
) -> None:
    body = {"documents": [{"name": "a.md", "text": "About ada."}]}
    ada = await remember(http, "ada")
    await http.post("/v1/memories", json={**body, "name": "copy", "options": {"allow_duplicate": True}})
    done = await lose_and_rebuild(world)
    await world.gateway.keys.seed(ADMIN, "acme")
    again = await http.post("/v1/memories", json={**body, "name": "again"})

    assert done["queued"] == 2
    assert (again.status_code, again.json()["error"]["code"]) == (409, "duplicate_content")
    assert ada in again.json()["error"]["message"]


@pytest.mark.parametrize(("chosen_at", "current"), [(time.time(), 1), (1.0, 2)], ids=["now", "long ago"])
async def test_a_rollback_holds_unless_a_newer_version_was_published_since(
    world: World, http: httpx.AsyncClient, chosen_at: float, current: int
) -> None:
    ada = await remember(http, "ada", pinned=True)
    await http.post(f"/v1/memories/{ada}/documents", json=more("b.md"))
    write_version(world.settings, adapter(ada, 1))
    write_version(world.settings, adapter(ada, 2))
    record = world.gateway.artifacts.read_memory("acme", ada)
    world.gateway.artifacts.write_memory("acme", ada, {**record, "rollback": {"version": 1, "at": chosen_at}})
    await lose_and_rebuild(world)

    assert (await world.gateway.memories.get("acme", ada)).current == current
    assert await world.gateway.engines.pinned() == {str(adapter(ada, current))}


async def test_a_rollback_holds_while_the_version_of_further_documents_is_made(
    world: World, http: httpx.AsyncClient
) -> None:
    ada = await remember_twice(world, http)
    for number in (1, 2):
        version = await world.gateway.versions.get("acme", ada, number)
        await world.gateway.versions.restore(dataclasses.replace(version, state=State.READY))
    await http.patch(f"/v1/memories/{ada}", json={"version": 1})
    await http.post(f"/v1/memories/{ada}/documents", json=more("c.md"))
    await lose_and_rebuild(world)
    memory = await world.gateway.memories.get("acme", ada)

    assert (memory.current, memory.latest) == (1, 3)


async def test_a_version_that_was_published_counts_though_its_gateway_died_before_it_noted_it(
    world: World, http: httpx.AsyncClient
) -> None:
    ada = await remember(http, "ada")
    write_version(world.settings, adapter(ada, 2))
    await lose_and_rebuild(world)
    memory = await world.gateway.memories.get("acme", ada)

    assert (memory.current, memory.latest) == (2, 2)


async def test_a_cancelled_version_stays_cancelled_and_a_retried_one_keeps_its_recipe(
    world: World, http: httpx.AsyncClient
) -> None:
    ada, bob = await remember(http, "ada"), await remember(http, "bob")
    for one in (ada, bob):
        await http.post(f"/v1/memories/{one}/cancel")
    await http.post(f"/v1/memories/{bob}/retry", json={"recipe": {"epochs": 3}})
    done = await lose_and_rebuild(world)
    versions = [await world.gateway.versions.get("acme", one, 1) for one in (ada, bob)]

    assert (done["cancelled"], done["queued"]) == (1, 1)
    assert [version.state for version in versions] == [State.CANCELLED, State.QUEUED]
    assert versions[1].recipe["epochs"] == 3
    assert [job.memory_id for job in await world.gateway.versions.open_jobs()] == [bob]


async def test_what_was_cancelled_after_its_trainer_died_while_publishing_does_not_serve(
    world: World, http: httpx.AsyncClient
) -> None:
    ada = await remember_twice(world, http)
    await http.post(f"/v1/memories/{ada}/cancel")
    await lose_and_rebuild(world)
    memory = await world.gateway.memories.get("acme", ada)

    assert (memory.current, memory.latest) == (1, 2)
    assert (await world.gateway.versions.get("acme", ada, 2)).state is State.CANCELLED


async def test_a_memory_whose_deletion_was_accepted_is_erased_not_restored(
    world: World, http: httpx.AsyncClient
) -> None:
    ada = await remember(http, "ada")
    world.gateway.artifacts.write_memory("acme", ada, {"deleted_at": time.time()})
    done = await lose_and_rebuild(world)

    assert done["erased"] == 1
    assert not list(world.settings.home.rglob(f"*{ada}*"))


async def test_a_name_that_was_given_away_is_kept_by_its_new_holder(world: World, http: httpx.AsyncClient) -> None:
    ada = await remember(http, "ada")
    write_version(world.settings, adapter(ada))
    await world.redis.flushall()
    newer = await world.ready("ada")
    before, _ = await world.traces()
    done = await rebuilder(world).run()

    assert done["name_taken"] == 1
    assert (await world.traces())[0] == before
    assert (await world.gateway.memories.find("acme", "ada")).id == newer.memory.id
    assert world.gateway.artifacts.read_memory("acme", ada)["memory"]["name"] == "ada"


TWO = [("Ada was born in 1815.",), ("Bob was born in 1901.",)]


async def test_a_version_comes_back_with_all_its_parts(world: World) -> None:
    before = await world.ready_in_parts("ada", TWO)
    done = await lose_and_rebuild(world)
    version = await world.gateway.versions.get("acme", before.memory_id, 1)

    assert done["ready"] == 1
    assert (version.state, version.adapter, version.parts) == (State.READY, before.parts[0], before.parts)
    assert (version.digest[:12], version.size_bytes) == ("1" * 12, 8)


async def test_a_version_that_lacks_a_part_is_made_again(world: World) -> None:
    before = await world.ready_in_parts("ada", TWO)
    shutil.rmtree(world.settings.home / "artifacts" / AdapterName.parse(before.parts[1]).folder)
    done = await lose_and_rebuild(world)

    assert done["queued"] == 1
    assert (await world.gateway.memories.get("acme", before.memory_id)).current == 0
