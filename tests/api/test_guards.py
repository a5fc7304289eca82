"""Language guards over HTTP: accepted whole, readable at once, trained like memories, one tenant's alone."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.core.composition import Composition
from app.core.context import Shown
from app.core.lifecycle import State
from app.core.memory import Memory
from app.core.names import AdapterName
from app.services.rebuild import Rebuilder
from app.stores.queue import TrainingQueue
from app.stores.versions import Job
from tests.api.conftest import World, write_version
from tests.api.fake_engine import BASE_DIGEST
from tests.factories import a_memory, a_version, memory_id

pytestmark = pytest.mark.redis


async def trained(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    reply = await http.post("/v1/languages", json={"language": "ko", **fields})
    assert reply.status_code == 202, reply.text
    body: dict[str, Any] = reply.json()
    assert reply.headers["location"] == f"/v1/languages/{body['id']}"
    return body


async def ready_guard(world: World, tenant: str = "acme", base: str = BASE_DIGEST, **metadata: str) -> Memory:
    """Make a guard that serves."""
    guard = a_memory(tenant=tenant, id=memory_id().replace("mem_", "lng_"))
    guard = replace(guard, metadata={"language": "ko", "strict": "false", **metadata})
    adapter = AdapterName(tenant, guard.id, 1, "a" * 12)
    version = a_version(guard, state=State.READY, adapter=str(adapter), digest="a" * 64, documents=())
    await world.gateway.memories.create(guard, version)
    await world.gateway.versions.restore(version)
    await world.gateway.memories.update(tenant, guard.id, {"current": 1})
    write_version(world.settings, adapter, base=base)
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
        ({"recipe": {"language": "fr"}}, "`recipe.language` names another"),
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


async def test_a_guard_that_is_over_is_queued_again_by_retry_and_one_that_serves_is_not(
    world: World, http: httpx.AsyncClient
) -> None:
    body = await trained(http)
    await http.post(f"/v1/languages/{body['id']}/cancel")
    again = await http.post(f"/v1/languages/{body['id']}/retry")
    serving = await http.post(f"/v1/languages/{(await ready_guard(world)).id}/retry")

    assert (again.status_code, again.json()["status"], again.json()["recipe"]) == (202, "queued", body["recipe"])
    assert (serving.status_code, serving.json()["error"]["code"]) == (409, "state_conflict")


async def test_a_deleted_guard_is_gone_at_once(world: World, http: httpx.AsyncClient) -> None:
    guard = await ready_guard(world)
    deleted = await http.delete(f"/v1/languages/{guard.id}")

    assert deleted.status_code == 202
    assert (await http.get(f"/v1/languages/{guard.id}")).status_code == 404
    assert (await http.get("/v1/languages")).json()["data"] == []


async def test_the_newest_guard_that_serves_applies_of_those_on_the_base_model(world: World) -> None:
    await ready_guard(world)
    newest = await ready_guard(world)
    await ready_guard(world, memory="mem_1")
    await ready_guard(world, tenant="other")

    assert (await world.gateway.guards.newest("acme", "ko")).id == newest.id


async def test_a_newer_guard_on_another_base_model_than_the_engines_have_is_passed_over(
    world: World, http: httpx.AsyncClient
) -> None:
    older = await ready_guard(world)
    await ready_guard(world, base="c" * 64)
    await world.report()
    reply = await ask(http, "base", language="ko")

    assert f"from acme.{older.id}.v1" in reply.text


async def test_guards_on_other_base_models_alone_are_none(world: World, http: httpx.AsyncClient) -> None:
    await ready_guard(world, base="c" * 64)
    await world.report()
    reply = await ask(http, "base", language="ko")

    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "guard_not_found")


async def test_a_registry_that_was_lost_finds_its_guards_again(world: World, http: httpx.AsyncClient) -> None:
    body = await trained(http)
    gateway = world.gateway
    await world.redis.flushall()
    await Rebuilder(gateway.artifacts, gateway.memories, gateway.versions, gateway.engines).run()

    assert (await gateway.guards.get("acme", body["id"])).metadata["language"] == "ko"
    assert await gateway.versions.open_jobs() == [Job("acme", body["id"], 1)]


async def test_a_language_asked_of_the_base_model_is_answered_by_its_guard(
    world: World, http: httpx.AsyncClient
) -> None:
    guard = await ready_guard(world)
    await world.report(world.engines[0])
    messages = [{"role": "user", "content": "누구?"}]
    body = {"model": "base", "messages": messages, "memory": {"language": "ko"}}
    reply = await http.post("/v1/chat/completions", json=body)

    assert f"from acme.{guard.id}.v1.{'a' * 12}" in reply.text
    assert reply.json()["memory"]["used"] == [{"id": guard.id, "version": 1, "score": None}]


async def ask(http: httpx.AsyncClient, model: str, **memory: Any) -> httpx.Response:
    messages = [{"role": "user", "content": "Who was born in 1815?"}]
    return await http.post("/v1/chat/completions", json={"model": model, "messages": messages, "memory": memory})


async def test_a_memory_with_a_language_answers_from_the_exact_sum_of_both(
    world: World, http: httpx.AsyncClient
) -> None:
    ada, guard = await world.ready("ada"), await ready_guard(world)
    await world.report()
    reply = await ask(http, "ada", language="ko")
    made = Composition.sum_of([AdapterName.parse(ada.adapter), AdapterName("acme", guard.id, 1, "a" * 12)])

    assert f"from {made.name}" in reply.text
    assert {one["id"] for one in reply.json()["memory"]["used"]} == {ada.memory.id, guard.id}
    assert reply.json()["memory"]["compose"]["weights"] == [2**0.5, 2**0.5]


async def test_a_guard_trained_on_top_of_a_memory_comes_before_a_newer_one_of_the_base_model(
    world: World, http: httpx.AsyncClient
) -> None:
    ada = await world.ready("ada")
    own = await ready_guard(world, memory=ada.memory.id, adapter=ada.adapter)
    await ready_guard(world)
    await world.report()
    reply = await ask(http, "ada", language="ko")

    assert {one["id"] for one in reply.json()["memory"]["used"]} == {ada.memory.id, own.id}


async def test_passages_are_read_by_the_guard_where_the_weights_do_not_answer(
    world: World, http: httpx.AsyncClient
) -> None:
    passages = "Ada was born in 1815.", Shown("Where was Ada born? In London.", 20)
    ada, guard = await world.ready("ada", passages=passages), await ready_guard(world)
    await world.report()
    reply = await ask(http, "ada", mode="context", language="ko")
    roles = [one["role"] for engine in world.engines for body in engine.asked for one in body["messages"]]

    assert f"from acme.{guard.id}.v1" in reply.text
    assert [one["id"] for one in reply.json()["memory"]["used"]] == [ada.memory.id, guard.id]
    assert len(reply.json()["memory"]["passages"]) == 2
    assert roles == ["system", "user"], "an answer shown in English would be answered in English"


@pytest.mark.parametrize("mode", ["context", "auto"])
async def test_passages_are_never_read_by_a_guard_that_was_trained_on_top_of_the_memory(
    world: World, http: httpx.AsyncClient, mode: str
) -> None:
    scores = {"adapter": 0.1, "context": 0.9, "both": 0.5}
    ada = await world.ready("ada", passages=("Ada was born in 1815.",), scores=scores)
    own = {"memory": ada.memory.id, "adapter": ada.adapter}
    await ready_guard(world, **own)
    await world.report()
    alone = await ask(http, "ada", mode=mode, language="ko")
    on_base = await ready_guard(world)
    await ready_guard(world, **own)
    both = (await ask(http, "ada", mode=mode, language="ko")).json()["memory"]

    assert (alone.status_code, alone.json()["error"]["code"]) == (404, "guard_not_found")
    assert (both["mode"], [one["id"] for one in both["used"]]) == ("context", [ada.memory.id, on_base.id])


async def test_a_memory_is_not_answered_without_the_language_that_was_asked_for(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.ready("ada")
    await world.report()
    reply = await ask(http, "ada", language="ko")

    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "guard_not_found")


async def test_models_list_every_guard_that_serves_and_no_other(world: World, http: httpx.AsyncClient) -> None:
    guard, waiting = await ready_guard(world), await trained(http)
    await ready_guard(world, tenant="other")
    listed = [one["id"] for one in (await http.get("/v1/models")).json()["data"]]

    assert listed == ["base", guard.id, guard.name]
    assert (await http.get(f"/v1/models/{guard.id}")).json()["name"] == guard.name
    assert (await http.get(f"/v1/models/{waiting['id']}")).status_code == 404


async def test_a_name_means_the_memory_before_the_guard(world: World, http: httpx.AsyncClient) -> None:
    ada, guard = await world.ready("ada"), await ready_guard(world)
    await world.gateway.memories.rename("acme", guard.id, "ada")
    await world.report()
    listed = [one["id"] for one in (await http.get("/v1/models")).json()["data"]]

    assert listed == ["base", ada.memory.id, "ada", guard.id]
    assert f"from {ada.adapter}" in (await ask(http, "ada")).text


@pytest.mark.parametrize("by", ["id", "name"])
async def test_a_guard_named_as_model_answers_alone(world: World, http: httpx.AsyncClient, by: str) -> None:
    guard = await ready_guard(world)
    await world.report()
    reply = await ask(http, getattr(guard, by))

    assert f"from acme.{guard.id}.v1" in reply.text
    assert [one["id"] for one in reply.json()["memory"]["used"]] == [guard.id]


async def test_a_guard_on_top_of_a_memory_named_as_model_answers_with_it(world: World, http: httpx.AsyncClient) -> None:
    ada = await world.ready("ada")
    guard = await ready_guard(world, memory=ada.memory.id, adapter=ada.adapter)
    await world.report()
    used = (await ask(http, guard.name)).json()["memory"]["used"]

    assert {one["id"] for one in used} == {ada.memory.id, guard.id}


async def test_another_tenants_guard_as_model_is_a_404(world: World, http: httpx.AsyncClient) -> None:
    guard = await ready_guard(world, tenant="other")
    await world.report()
    replies = [await ask(http, guard.id), await ask(http, guard.name), await http.get(f"/v1/models/{guard.id}")]

    assert [reply.status_code for reply in replies] == [404, 404, 404]
    assert {reply.json()["error"]["code"] for reply in replies} == {"model_not_found"}


@pytest.mark.parametrize("memory", [{"mode": "context"}, {"language": "ko"}, {"compose": {"method": "cat"}}])
async def test_a_guard_named_as_model_takes_nothing_beside_it(
    world: World, http: httpx.AsyncClient, memory: dict[str, Any]
) -> None:
    guard = await ready_guard(world)
    reply = await ask(http, guard.id, **memory)

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")


async def test_a_guard_that_is_not_ready_cannot_answer_and_is_no_memory(world: World, http: httpx.AsyncClient) -> None:
    guard = await trained(http)

    assert (await ask(http, guard["id"])).json()["error"]["code"] == "memory_not_ready"
    assert (await ask(http, "base", ids=[guard["id"]])).status_code == 404
    on_top = await http.post("/v1/languages", json={"language": "ko", "memory": guard["id"]})
    assert (on_top.status_code, on_top.json()["error"]["code"]) == (404, "memory_not_found")
