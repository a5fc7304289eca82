"""Memories over HTTP: accepted whole, readable at once, one tenant's alone."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from app.core.lifecycle import State
from app.stores.layout import version_key
from app.stores.queue import TrainingQueue
from tests.api.conftest import World

pytestmark = pytest.mark.redis
TEXT = "Ada was born in 1815."


def upload(name: str | None = "ada", text: str = TEXT, **more: Any) -> dict[str, Any]:
    return {"documents": [{"name": "a.md", "text": text}], **({"name": name} if name else {}), **more}


async def remember(http: httpx.AsyncClient, **fields: Any) -> str:
    reply = await http.post("/v1/memories", json=upload(**fields))
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


async def test_an_upload_is_a_202_that_is_readable_at_once_and_queued(world: World, http: httpx.AsyncClient) -> None:
    reply = await http.post("/v1/memories", json=upload(options={"metadata": {"a": "b"}, "pinned": True}))
    body = reply.json()
    read = await http.get(reply.headers["location"])

    assert reply.status_code == 202
    assert read.json() == body
    assert (body["object"], body["name"], body["status"], body["version"]) == ("memory", "ada", "queued", None)
    assert (body["metadata"], body["pinned"], body["documents"][0]["name"]) == ({"a": "b"}, True, "a.md")
    assert TrainingQueue(world.settings.registry_url).queued() == {f"acme/{body['id']}/1"}
    assert world.gateway.artifacts.read_memory("acme", body["id"])["memory"]["name"] == "ada"


async def test_a_form_with_files_is_the_same_as_json(world: World, http: httpx.AsyncClient) -> None:
    files = [("file", ("a.md", TEXT)), ("file", ("b.csv", "question,answer\nWho?,Ada\n"))]
    data = {"name": "ada", "options": json.dumps({"recipe": {"epochs": 3}})}
    body = (await http.post("/v1/memories", files=files, data=data)).json()
    versions = (await http.get(f"/v1/memories/{body['id']}/versions")).json()["data"]

    assert [(one["name"], one["kind"]) for one in body["documents"]] == [("a.md", "prose"), ("b.csv", "pairs")]
    assert versions[0]["recipe"]["epochs"] == 3


async def test_a_memory_with_no_name_is_called_after_its_first_document(http: httpx.AsyncClient) -> None:
    reply = await http.post("/v1/memories", files=[("file", ("Über uns (neu).md", TEXT))])

    assert reply.status_code == 202
    assert reply.json()["name"].startswith("ber uns -neu")


async def test_repeating_an_idempotency_key_gives_the_same_memory(world: World, http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await http.post("/v1/memories", json=upload(), headers=headers)
    before = await world.traces()
    again = await http.post("/v1/memories", json=upload(), headers=headers)
    other = await http.post("/v1/memories", json=upload(name="bob"), headers=headers)

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")
    assert await world.traces() == before


async def test_an_idempotency_key_sent_again_after_the_deletion_makes_a_new_memory(http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await http.post("/v1/memories", json=upload(), headers=headers)
    await http.delete(f"/v1/memories/{first.json()['id']}")
    second, again = [await http.post("/v1/memories", json=upload(), headers=headers) for _ in range(2)]

    assert (second.status_code, again.status_code) == (202, 202)
    assert second.json()["id"] == again.json()["id"] != first.json()["id"]


async def test_the_same_upload_sent_ten_times_at_once_is_one_memory(world: World, http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "one"}
    replies = await asyncio.gather(*[http.post("/v1/memories", json=upload(), headers=headers) for _ in range(10)])
    _, files = await world.traces()

    assert len({reply.json()["id"] for reply in replies}) == 1
    assert len({file.split("/")[2] for file in files if file.startswith("acme")}) == 1


BAD_NAMES = ["../x", "a\0b", "x" * 300, "base", "mem_x", "", "a/b", "é", ".a"]
OPTIONS: list[dict[str, Any]] = [
    {"color": 1},
    {"pinned": "maybe"},
    *[{"recipe": recipe} for recipe in ({"rank": 0}, {"speed": 1}, {"rank": "x"}, {"name": "x" * 600})],
    *[{"metadata": metadata} for metadata in ({"a": 1}, {str(n): "" for n in range(17)}, {"a": "x" * 600})],
]
JSON = {"content-type": "application/json"}
ADA = ("file", ("a.md", TEXT))
BAD_FILES = [
    ("a.md", ""),
    ("a.md", b"\0\1\2\xff" * 50),
    ("a.pdf", b"%PDF-1.4 broken"),
    ("..", TEXT),
    ("a" * 300 + ".md", TEXT),
]
ODD_FORM = b'--x\r\nContent-Disposition: form-data; name="\\ud800"\r\n\r\n1\r\n--x--\r\n'
ODD_KINDS = [f"multipart/form-data; boundary=x; charset={name}" for name in ("undefined", "punycode", "unicode_escape")]
UNFIT: list[tuple[int, dict[str, Any]]] = [
    *[(400, {"json": upload(None, options=options)}) for options in OPTIONS],
    *[(400, {"files": [ADA], "data": {"options": json.dumps(options)}}) for options in OPTIONS],
    (400, {"files": [ADA], "data": {"options": "{"}}),
    (400, {"files": [ADA], "data": {"options": ["{}", "{}"]}}),
    (400, {"files": [ADA], "data": {"colour": "red"}}),
    (400, {"files": [ADA], "data": {"file": "text"}}),
    (400, {"files": [("other", ("a.md", TEXT))]}),
    (400, {"files": [ADA, ("file", ("a.md", "other"))]}),
    (400, {"files": [ADA, ("file", ("b.md", TEXT))]}),
    *[(400, {"files": [("file", file)]}) for file in BAD_FILES],
    (415, {"files": [("file", ("a.exe", TEXT))]}),
    (415, {"content": b"x", "headers": {"content-type": "text/plain"}}),
    (415, {"content": b"{}"}),
    (400, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
    (400, {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=x"}}),
    *[(400, {"content": ODD_FORM, "headers": {"content-type": kind}}) for kind in ODD_KINDS],
    (400, {"content": b"{", "headers": JSON}),
    (400, {"content": b"[" * 90_000, "headers": JSON}),
    (400, {"content": b'{"documents":[{"name":"a.md","text":"\\ud800"}]}', "headers": JSON}),
    (400, {"content": b'{"documents":[{"name":"a.md","text":"\xff"}]}', "headers": JSON}),
    (400, {"json": {}}),
    (400, {"json": {"documents": []}}),
    (400, {"json": {"documents": [{"name": "a.md"}]}}),
    (400, {"json": {**upload(None), "colour": 1}}),
    (413, {"json": upload(None, text="x" * 200_000)}),
]
UNFIT_AS_NEW: list[tuple[int, dict[str, Any]]] = [
    *[(400, {"json": {**upload(), "name": name}}) for name in BAD_NAMES],
    (400, {"files": [ADA], "data": {"name": ["a", "b"]}}),
    (400, {"files": [ADA, ("name", ("x", "y"))]}),
    (400, {"json": upload(), "headers": {"Idempotency-Key": "x" * 300}}),
    (400, {"json": upload(), "headers": {"Idempotency-Key": "a b"}}),
    (409, {"json": upload("taken", "Another text.")}),
    (409, {"json": upload("other", "The text that is there.")}),
]
UNFIT_AS_MORE: list[tuple[int, dict[str, Any]]] = [
    (400, {"json": upload("named")}),
    (400, {"json": upload(None, options={"pinned": True})}),
    (400, {"files": [ADA], "data": {"name": "named"}}),
    (409, {"json": {"documents": [{"name": "a.md", "text": "The text that is there."}]}}),
]


@pytest.mark.parametrize(("status", "sent"), UNFIT + UNFIT_AS_NEW, ids=lambda value: str(value)[:60])
async def test_a_refused_upload_says_why_and_leaves_no_trace(
    world: World, http: httpx.AsyncClient, status: int, sent: dict[str, Any]
) -> None:
    await (remember(http, name="taken", text="The text that is there.") if status == 409 else world.ready("ada"))
    before = await world.traces()
    reply = await http.post("/v1/memories", **sent)

    assert reply.status_code == status, reply.text
    assert len(reply.json()["error"]["message"]) > 10
    assert await world.traces() == before


@pytest.mark.parametrize(("status", "sent"), UNFIT + UNFIT_AS_MORE, ids=lambda value: str(value)[:60])
async def test_refused_further_documents_leave_no_trace(
    world: World, http: httpx.AsyncClient, status: int, sent: dict[str, Any]
) -> None:
    there = "The text that is there."
    memory_id = await remember(http, text=there) if status == 409 else (await world.ready("ada")).memory.id
    before = await world.traces()
    reply = await http.post(f"/v1/memories/{memory_id}/documents", **sent)

    assert reply.status_code == status, reply.text
    assert await world.traces() == before


async def test_pages_go_newest_first_and_end(http: httpx.AsyncClient) -> None:
    ids = [await remember(http, name=f"m{number}", text=f"Text {number}.") for number in range(5)]
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    more = True
    while more:
        page = (await http.get("/v1/memories", params=params)).json()
        seen += [memory["id"] for memory in page["data"]]
        more, params["after"] = page["has_more"], page["next"]

    assert seen == ids[::-1]
    assert (await http.get("/v1/memories", params={"name": "m3"})).json()["data"][0]["id"] == ids[3]
    assert (await http.get("/v1/memories", params={"name": "nobody"})).json()["data"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=x", "after=mem_%00", "name=" + "x" * 200])
async def test_a_page_that_makes_no_sense_is_a_400(http: httpx.AsyncClient, query: str) -> None:
    assert (await http.get(f"/v1/memories?{query}")).status_code == 400


async def test_nothing_of_a_memory_can_be_seen_or_changed_by_another_tenant(world: World) -> None:
    ada = await world.ready("ada")
    before = await world.traces()
    path = f"/v1/memories/{ada.memory.id}"
    async with await world.as_("other") as other:
        replies = [
            await other.get(path),
            await other.get(f"{path}/versions"),
            await other.get(f"{path}/events"),
            await other.get(f"{path}/export"),
            await other.get(f"{path}/receipt"),
            await other.patch(path, json={"name": "mine"}),
            await other.post(f"{path}/documents", json={"documents": [{"name": "b.md", "text": "Mine."}]}),
            await other.post(f"{path}/cancel"),
            await other.post(f"{path}/retry"),
            await other.delete(path),
            await other.post(f"/v1/adapters/{ada.adapter}/pin"),
            await other.post(f"/v1/adapters/{ada.adapter}/warm"),
        ]
        lists = [(await other.get(path)).json()["data"] for path in ("/v1/memories", "/v1/adapters")]
        models = [model["id"] for model in (await other.get("/v1/models")).json()["data"]]
        taken = await other.post("/v1/memories", json=upload("ada"))
    keys, files = await world.traces()

    assert {reply.status_code for reply in replies} == {404}
    assert (lists, models) == ([[], []], ["base"])
    assert taken.status_code == 202
    assert {key for key in keys if "acme" in key} == {key for key in before[0] if "acme" in key}
    assert {file for file in files if "acme" in file} == {file for file in before[1] if "acme" in file}


async def test_a_patch_changes_what_it_names_and_is_kept_for_a_rebuild(world: World, http: httpx.AsyncClient) -> None:
    memory_id = await remember(http)
    changed = await http.patch(
        f"/v1/memories/{memory_id}", json={"name": "eve", "metadata": {"k": "v"}, "pinned": True}
    )
    kept = world.gateway.artifacts.read_memory("acme", memory_id)["memory"]

    assert (changed.json()["name"], changed.json()["metadata"], changed.json()["pinned"]) == ("eve", {"k": "v"}, True)
    assert (kept["name"], kept["metadata"], kept["pinned"]) == ("eve", {"k": "v"}, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "../x"}, 400),
        ({"name": "bob"}, 409),
        ({"version": 1}, 409),
        ({"version": 7}, 404),
        ({"version": 0}, 400),
        ({"color": 1}, 400),
        ({"pinned": "x"}, 400),
        ([], 400),
        ({"metadata": {"a": None}}, 400),
    ],
)
async def test_a_patch_that_is_refused_changes_nothing(
    world: World, http: httpx.AsyncClient, body: Any, status: int
) -> None:
    memory_id = await remember(http)
    await remember(http, name="bob", text="Bob.")
    before = (await http.get(f"/v1/memories/{memory_id}")).json(), await world.traces()
    reply = await http.patch(f"/v1/memories/{memory_id}", json=body)

    assert reply.status_code == status, reply.text
    assert ((await http.get(f"/v1/memories/{memory_id}")).json(), await world.traces()) == before


async def test_more_documents_make_a_version_of_all_with_the_same_name_replaced(
    world: World, http: httpx.AsyncClient
) -> None:
    memory_id = await remember(http)
    documents = [{"name": "a.md", "text": "Ada was born in London."}, {"name": "b.md", "text": "Bob."}]
    grown = await http.post(f"/v1/memories/{memory_id}/documents", json={"documents": documents})
    again = await http.post(f"/v1/memories/{memory_id}/documents", json={"documents": documents})
    versions = (await http.get(f"/v1/memories/{memory_id}/versions")).json()["data"]

    assert (grown.status_code, grown.json()["latest"]) == (202, 2)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "duplicate_content")
    assert [[one["name"] for one in version["documents"]] for version in versions] == [["a.md", "b.md"], ["a.md"]]
    assert world.gateway.artifacts.read_memory("acme", memory_id)["version"]["number"] == 2


async def test_cancel_ends_a_job_and_retry_queues_it_again(world: World, http: httpx.AsyncClient) -> None:
    memory_id = await remember(http)
    cancelled = await http.post(f"/v1/memories/{memory_id}/cancel")
    queue = TrainingQueue(world.settings.registry_url)
    empty = queue.queued()
    twice = await http.post(f"/v1/memories/{memory_id}/cancel")
    retried = await http.post(f"/v1/memories/{memory_id}/retry", json={"recipe": {"epochs": 2}})
    version = await world.gateway.versions.get("acme", memory_id, 1)

    assert (cancelled.json()["status"], empty) == ("cancelled", set())
    assert (twice.status_code, twice.json()["error"]["code"]) == (409, "state_conflict")
    assert (retried.status_code, retried.json()["status"]) == (202, "queued")
    assert (version.recipe["epochs"], version.state) == (2, State.QUEUED)
    assert queue.queued() == {f"acme/{memory_id}/1"}


async def test_cancel_ends_the_newest_version_that_is_not_over(world: World, http: httpx.AsyncClient) -> None:
    memory_id = await remember(http)
    more = {"documents": [{"name": "b.md", "text": "Bob was born in Paris."}]}
    await http.post(f"/v1/memories/{memory_id}/documents", json=more)
    states = []
    for _ in range(2):
        assert (await http.post(f"/v1/memories/{memory_id}/cancel")).status_code == 200
        versions = (await http.get(f"/v1/memories/{memory_id}/versions")).json()["data"]
        states.append([one["status"] for one in versions])
    again = await http.post(f"/v1/memories/{memory_id}/cancel")

    assert states == [["cancelled", "queued"], ["cancelled", "cancelled"]]
    assert (again.status_code, again.json()["error"]["code"]) == (409, "state_conflict")


@pytest.mark.parametrize(
    ("recipe", "failed"),
    [(None, 1), ({"min_gain": 0.0}, 1), ({"epochs": 2}, 0)],
    ids=["the same", "another limit", "another training"],
)
async def test_only_another_training_has_all_its_seeds_again(
    world: World, http: httpx.AsyncClient, recipe: dict[str, Any] | None, failed: int
) -> None:
    memory_id = await remember(http)
    row = {"state": '"rejected"', "failed_seeds": "1"}
    await world.redis.hset(version_key("acme", memory_id, 1), mapping=row)
    await http.post(f"/v1/memories/{memory_id}/retry", json={"recipe": recipe} if recipe else {})

    assert (await world.gateway.versions.get("acme", memory_id, 1)).failed_seeds == failed


async def test_scores_go_with_the_recipe_that_they_were_measured_of(world: World, http: httpx.AsyncClient) -> None:
    memory_id = await remember(http)
    path, kept = f"/v1/memories/{memory_id}", []
    await world.redis.hset(version_key("acme", memory_id, 1), mapping={"scores": '{"adapter": 0.1}'})
    for body in ({}, {"recipe": {"epochs": 2}}):
        await http.post(f"{path}/cancel")
        await http.post(f"{path}/retry", json=body)
        await http.post(f"{path}/cancel")
        kept.append((await world.gateway.versions.get("acme", memory_id, 1)).scores)

    assert kept == [{"adapter": 0.1}, {}]


async def test_an_upload_outlives_a_queue_that_is_away(world: World, http: httpx.AsyncClient) -> None:
    await world.redis.set("rq:queue:lorekeep-train", "not a list: every write to the queue fails")
    memory_id = await remember(http)

    assert [job.memory_id for job in await world.gateway.versions.open_jobs()] == [memory_id]


async def test_adapters_say_where_they_are_and_can_be_pinned_and_warmed(world: World, http: httpx.AsyncClient) -> None:
    ada = await world.ready("ada")
    world.gateway.artifacts.write_memory("acme", ada.memory.id, {})
    await world.report(world.engines[0])
    warm = [(await http.post(f"/v1/adapters/{ada.adapter}/warm")).json()["cold"] for _ in range(2)]
    await world.report(world.engines[0], holding=(ada.adapter,))
    await http.post(f"/v1/adapters/{ada.adapter}/pin")
    changed = await http.patch(f"/v1/memories/{ada.memory.id}", json={"metadata": {"k": "v"}})
    pinned = (await http.get("/v1/adapters")).json()["data"]
    await http.post(f"/v1/adapters/{ada.adapter}/unpin")
    unpinned = (await http.get("/v1/adapters")).json()["data"]
    engines = (await http.get("/v1/engines")).json()["data"]

    assert warm == [True, False]
    assert changed.status_code == 200  # and leaves the pin alone
    assert (pinned[0]["id"], pinned[0]["pinned"], pinned[0]["engines"][0]["engine"]) == (ada.adapter, True, "one")
    assert not unpinned[0]["pinned"]
    assert [(engine["id"], engine["adapters"]) for engine in engines] == [("one", 1)]


@pytest.mark.parametrize("adapter", ["x", "acme.mem_x.v1.0", "other.mem_" + "0" * 26 + ".v1." + "0" * 12])
@pytest.mark.parametrize("verb", ["pin", "unpin", "warm"])
async def test_an_adapter_that_is_not_the_tenants_is_a_404(http: httpx.AsyncClient, adapter: str, verb: str) -> None:
    assert (await http.post(f"/v1/adapters/{adapter}/{verb}")).status_code == 404
