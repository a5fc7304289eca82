"""Language guards over HTTP: accepted whole, readable at once, trained like memories, one tenant's alone."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.core.lifecycle import State
from app.core.memory import Memory
from app.core.names import AdapterName
from app.services.rebuild import Rebuilder
from app.stores.queue import TrainingQueue
from app.stores.versions import Job
from tests.api.conftest import World, write_version
from tests.factories import a_memory, a_version, memory_id

pytestmark = pytest.mark.redis


async def trained(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    reply = await http.post("/v1/languages", json={"language": "ko", **fields})
    assert reply.status_code == 202, reply.text
    body: dict[str, Any] = reply.json()
    assert reply.headers["location"] == f"/v1/languages/{body['id']}"
    return body


async def ready_guard(world: World, tenant: str = "acme", **metadata: str) -> Memory:
    """Make a guard that serves."""
    guard = a_memory(tenant=tenant, id=memory_id().replace("mem_", "lng_"))
    guard = replace(guard, metadata={"language": "ko", "strict": "false", **metadata})
    adapter = AdapterName(tenant, guard.id, 1, "a" * 12)
    version = a_version(guard, state=State.READY, adapter=str(adapter), digest="a" * 64, documents=())
    await world.gateway.memories.create(guard, version)
    await world.gateway.versions.restore(version)
    await world.gateway.memories.update(tenant, guard.id, {"current": 1})
    write_version(world.settings, adapter)
    return guard


async def test_a_guard_is_accepted_readable_at_once_and_queued(world: World, http: httpx.AsyncClient) -> None:
    body = await trained(http, recipe={"strict": True, "steps": 5})
    read = (await http.get(f"/v1/languages/{body['id']}")).json()

    assert read == body
    assert (body["object"], body["language"], body["strict"], body["status"]) == ("language", "ko", True, "queued")
    assert (body["recipe"]["steps"], body["memory"], body["adapter"]) == (5, None, None)
    assert TrainingQueue(world.settings.registry_url).queued() == {f"acme/{body['id']}/1"}


async def test_a_users_own_prompts_are_kept_for_the_trainer(world: World, http: httpx.AsyncClient) -> None:
    body = await trained(http, prompts=["하나", " 둘 "])
    version = await world.gateway.versions.get("acme", body["id"], 1)
    [ref] = version.documents

    assert world.gateway.artifacts.read_document("acme", body["id"], ref.digest) == {"prompts": ["하나", "둘"]}


async def test_guards_and_memories_are_two_lists_with_names_of_their_own(world: World, http: httpx.AsyncClient) -> None:
    memory = await world.ready("ada")
    first, second = await trained(http, name="ada"), await trained(http)
    page = (await http.get("/v1/languages", params={"limit": 1})).json()
    rest = (await http.get("/v1/languages", params={"after": page["next"]})).json()

    assert [one["id"] for one in page["data"] + rest["data"]] == [second["id"], first["id"]]
    assert [one["id"] for one in (await http.get("/v1/memories")).json()["data"]] == [memory.memory.id]
    assert (await http.get(f"/v1/memories/{first['id']}")).status_code == 404
    assert (await http.post("/v1/languages", json={"language": "ko", "name": "ada"})).status_code == 409


async def test_a_guard_is_trained_on_top_of_a_memory_that_serves(world: World, http: httpx.AsyncClient) -> None:
    ready = await world.ready("ada")
    body = await trained(http, memory="ada")
    guard = await world.gateway.memories.get("acme", body["id"])

    assert body["memory"] == ready.memory.id
    assert guard.metadata["adapter"] == ready.adapter
    missing = await http.post("/v1/languages", json={"language": "ko", "memory": "bob"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "memory_not_found")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"language": "xx"}, "name one of ar, de"),
        ({"recipe": {"candidates": 1000}}, "between 2 and 64"),
        ({"recipe": {"epochs": 3}}, "not a recipe field"),
        ({"name": "lng_1"}, "reserved"),
        ({"prompts": []}, "prompts"),
    ],
)
async def test_a_wrong_wish_is_refused_with_a_sentence_and_leaves_nothing(
    world: World, http: httpx.AsyncClient, fields: dict[str, Any], text: str
) -> None:
    before = await world.traces()
    reply = await http.post("/v1/languages", json={"language": "ko", **fields})

    assert reply.status_code == 400
    assert text in reply.json()["error"]["message"]
    assert await world.traces() == before


async def test_another_tenants_guard_is_a_404(world: World, http: httpx.AsyncClient) -> None:
    guard = await ready_guard(world)
    async with await world.as_("other") as other:
        replies = [await other.get(f"/v1/languages/{guard.id}"), await other.delete(f"/v1/languages/{guard.id}")]

    assert [reply.status_code for reply in replies] == [404, 404]
    assert {reply.json()["error"]["code"] for reply in replies} == {"guard_not_found"}


async def test_a_cancelled_guard_tells_so_to_whoever_follows(http: httpx.AsyncClient) -> None:
    body = await trained(http)
    cancelled = await http.post(f"/v1/languages/{body['id']}/cancel")
    events = (await http.get(f"/v1/languages/{body['id']}/events")).text

    assert cancelled.json()["status"] == "cancelled"
    assert events.count("event: state") == 2


async def test_a_deleted_guard_is_gone_at_once_and_its_erasure_is_owed(world: World, http: httpx.AsyncClient) -> None:
    guard = await ready_guard(world)
    deleted = await http.delete(f"/v1/languages/{guard.id}")
    receipt = await http.get(f"/v1/memories/{guard.id}/receipt")

    assert deleted.status_code == 202
    assert (await http.get(f"/v1/languages/{guard.id}")).status_code == 404
    assert (await http.get("/v1/languages")).json()["data"] == []
    assert receipt.json()["status"] in {"erasing", "erased"}


async def test_the_newest_guard_that_serves_applies_of_those_on_the_base_model(world: World) -> None:
    await ready_guard(world)
    newest = await ready_guard(world)
    await ready_guard(world, memory="mem_1")
    await ready_guard(world, tenant="other")

    assert (await world.gateway.guards.newest("acme", "ko")).id == newest.id


async def test_a_registry_that_was_lost_finds_its_guards_again(world: World, http: httpx.AsyncClient) -> None:
    body = await trained(http)
    gateway = world.gateway
    await world.redis.flushall()
    await Rebuilder(gateway.artifacts, gateway.memories, gateway.versions).run()

    assert (await gateway.guards.get("acme", body["id"])).metadata["language"] == "ko"
    assert await gateway.versions.open_jobs() == [Job("acme", body["id"], 1)]
