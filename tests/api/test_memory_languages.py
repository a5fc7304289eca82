"""A memory that names languages: its guards are accepted with it, shown with it, deleted with it."""

import dataclasses
import json
from typing import Any

import httpx
import pytest

from app.core.lifecycle import State
from app.services.rebuild import Rebuilder
from app.stores.memories import MemoryStore
from app.stores.queue import TrainingQueue
from app.stores.redis import Registry
from tests.api.conftest import World

pytestmark = pytest.mark.redis
DOCUMENTS = [{"name": "ada.md", "text": "Ada was born in 1815."}]


async def remembered(http: httpx.AsyncClient, *languages: str, **headers: str) -> dict[str, Any]:
    body = {"name": "ada", "documents": DOCUMENTS, "options": {"languages": list(languages)}}
    reply = await http.post("/v1/memories", json=body, headers=headers)
    assert reply.status_code == 202, reply.text
    memory: dict[str, Any] = reply.json()
    return memory


async def test_guards_are_accepted_with_the_memory_and_readable_at_once(world: World, http: httpx.AsyncClient) -> None:
    memory = await remembered(http, "ko", "ja")
    guards = (await http.get("/v1/languages")).json()["data"]

    assert {(one["language"], one["memory"], one["status"], one["strict"]) for one in guards} == {
        ("ko", memory["id"], "queued", True),
        ("ja", memory["id"], "queued", True),
    }
    shown = [{"id": one["id"], "language": one["language"], "status": "queued"} for one in guards]
    assert memory["languages"] == (await http.get(f"/v1/memories/{memory['id']}")).json()["languages"] == shown
    queued = {f"acme/{one['id']}/1" for one in [memory, *guards]}
    assert TrainingQueue(world.settings.registry_url).queued() == queued


async def test_a_form_names_languages_too(http: httpx.AsyncClient) -> None:
    reply = await http.post(
        "/v1/memories",
        files=[("file", ("ada.md", b"Ada was born in 1815."))],
        data={"options": json.dumps({"languages": ["ko"]})},
    )

    assert [one["language"] for one in reply.json()["languages"]] == ["ko"]


@pytest.mark.parametrize(
    ("languages", "text"),
    [(["ko", "xx"], "name one of ar, de"), (["ko", "ko"], "names a language twice"), ("ko", "options.languages")],
)
async def test_a_language_that_cannot_be_trained_is_refused_and_nothing_is_kept(
    world: World, http: httpx.AsyncClient, languages: object, text: str
) -> None:
    before = await world.traces()
    body = {"name": "ada", "documents": DOCUMENTS, "options": {"languages": languages}}
    reply = await http.post("/v1/memories", json=body)

    assert reply.status_code == 400
    assert text in json.dumps(reply.json()["error"])
    assert await world.traces() == before


async def test_languages_are_refused_where_no_live_engine_takes_a_guards_rank(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.gateway.engines.report(dataclasses.replace(world.engines[0].record(), max_lora_rank=8), 60)
    await world.gateway.fleet.refresh()
    before = await world.traces()
    body = {"name": "ada", "documents": DOCUMENTS}
    refused = await http.post("/v1/memories", json={**body, "options": {"languages": ["ko"]}})
    traces = await world.traces()
    without = await http.post("/v1/memories", json=body)
    error = refused.json()["error"]

    assert (refused.status_code, error["param"]) == (400, "options.languages")
    assert error["message"] == (
        "options.languages asks for rank 16 and engines take 8 at most: leave it out, or start the engines with a "
        "higher LOREKEEP_MAX_LORA_RANK."
    )
    assert traces == before
    assert without.status_code == 202


async def test_a_memory_that_is_refused_leaves_no_guards(world: World, http: httpx.AsyncClient) -> None:
    await remembered(http)
    before = await world.traces()
    body = {"name": "another", "documents": DOCUMENTS, "options": {"languages": ["ko"]}}
    reply = await http.post("/v1/memories", json=body)

    assert reply.json()["error"]["code"] == "duplicate_content"
    assert await world.traces() == before


async def test_a_repeated_request_makes_no_second_guards(http: httpx.AsyncClient) -> None:
    first, again = [await remembered(http, "ko", **{"Idempotency-Key": "once"}) for _ in range(2)]

    assert first["languages"] == again["languages"]
    assert len((await http.get("/v1/languages")).json()["data"]) == 1


async def test_deleting_a_memory_deletes_its_guards_and_no_others(world: World, http: httpx.AsyncClient) -> None:
    memory = await remembered(http, "ko")
    other = (await http.post("/v1/languages", json={"language": "ko"})).json()
    await http.delete(f"/v1/memories/{memory['id']}")
    [guard] = memory["languages"]

    assert (await http.get(f"/v1/languages/{guard['id']}")).status_code == 404
    assert [one["id"] for one in (await http.get("/v1/languages")).json()["data"]] == [other["id"]]
    assert [job.memory_id for job in await world.gateway.versions.open_jobs()] == [other["id"]]
    assert (await http.get(f"/v1/memories/{guard['id']}/receipt")).status_code == 200


class Killed(BaseException):
    """The gateway dies here."""


async def test_a_deletion_that_was_cut_off_between_guards_and_memory_can_be_repeated(
    world: World, http: httpx.AsyncClient
) -> None:
    memory = await remembered(http, "ko", "ja")

    class Fragile(MemoryStore):
        def __init__(self, redis: Registry) -> None:
            super().__init__(redis)
            self.left = 1

        async def bury(self, *args: Any) -> int:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return await super().bury(*args)

    whole = world.gateway.eraser.__dict__["_at"]
    world.gateway.eraser.__dict__["_at"] = type(whole)(**{**vars(whole), "memories": Fragile(world.redis)})
    with pytest.raises(Killed):
        await world.gateway.eraser.bury(
            await world.gateway.memories.get("acme", memory["id"]), world.gateway.rememberer
        )
    world.gateway.eraser.__dict__["_at"] = whole
    left = (await http.get(f"/v1/memories/{memory['id']}")).json()["languages"]
    await http.delete(f"/v1/memories/{memory['id']}")

    assert len(left) == 1
    assert await world.gateway.memories.guards_on("acme", {memory["id"]}) == []


async def test_a_lost_registry_finds_a_memory_before_the_guards_that_wait_for_it(
    world: World, http: httpx.AsyncClient
) -> None:
    memory = await remembered(http, "ko")
    [guard] = memory["languages"]
    made: list[str] = []

    class Noting(MemoryStore):
        async def create(self, memory: Any, *args: Any, **options: Any) -> tuple[str, bool]:
            made.append(memory.id)
            return await super().create(memory, *args, **options)

    await world.redis.flushall()
    await Rebuilder(world.gateway.artifacts, Noting(world.redis), world.gateway.versions, world.gateway.engines).run()

    assert made == [memory["id"], guard["id"]]
    version = await world.gateway.versions.get("acme", guard["id"], 1)
    assert version.state is State.QUEUED
