"""A memory of several parts over HTTP: all of them are shown, pinned, warmed and unloaded."""

import dataclasses

import httpx
import pytest

from tests.api.conftest import World

pytestmark = pytest.mark.redis
TWO = [("Ada was born in 1815.",), ("Bob was born in 1901.",)]


async def test_a_version_shows_its_parts_with_digest_and_size(world: World, http: httpx.AsyncClient) -> None:
    version = await world.ready_in_parts("ada", TWO)
    [shown] = (await http.get(f"/v1/memories/{version.memory_id}/versions")).json()["data"]

    assert [part["adapter"] for part in shown["parts"]] == list(version.parts)
    assert [part["digest"][:12] for part in shown["parts"]] == ["1" * 12, "2" * 12]
    assert [part["size_bytes"] for part in shown["parts"]] == [4, 4]
    assert (shown["adapter"], shown["size_bytes"]) == (version.parts[0], 8)


async def test_a_version_of_one_adapter_shows_no_parts(world: World, http: httpx.AsyncClient) -> None:
    ada = await world.ready("ada")

    assert (await http.get(f"/v1/memories/{ada.memory.id}/versions")).json()["data"][0]["parts"] == []


async def test_pinning_a_memory_pins_every_part_of_what_serves(world: World, http: httpx.AsyncClient) -> None:
    version = await world.ready_in_parts("ada", TWO)
    path = f"/v1/memories/{version.memory_id}"
    await http.patch(path, json={"pinned": True})
    pinned = await world.gateway.engines.pinned()
    await http.patch(path, json={"pinned": False})

    assert pinned == set(version.parts)
    assert await world.gateway.engines.pinned() == set()


async def test_a_rollback_of_a_pinned_memory_moves_the_pins_of_every_part(
    world: World, http: httpx.AsyncClient
) -> None:
    version = await world.ready_in_parts("ada", TWO)
    older = dataclasses.replace(version, number=2, parts=(), adapter=f"acme.{version.memory_id}.v2.{'a' * 12}")
    await world.gateway.versions.restore(older)
    await world.gateway.memories.update("acme", version.memory_id, {"latest": 2, "current": 2, "pinned": True})
    await world.gateway.engines.pin(older.adapter)
    await http.patch(f"/v1/memories/{version.memory_id}", json={"version": 1})

    assert await world.gateway.engines.pinned() == set(version.parts)


@pytest.mark.parametrize("part", [0, 1])
async def test_every_part_can_be_warmed_and_pinned_by_its_name(
    world: World, http: httpx.AsyncClient, part: int
) -> None:
    name = (await world.ready_in_parts("ada", TWO)).parts[part]
    await world.report(world.engines[0])
    warm = await http.post(f"/v1/adapters/{name}/warm")
    pin = await http.post(f"/v1/adapters/{name}/pin")

    assert (warm.status_code, pin.status_code) == (200, 200)
    assert await world.gateway.engines.pinned() == {name}


PATHS = ["/v1/chat/completions", "/v1/completions"]


def ask(question: object, **more: object) -> dict[str, object]:
    return {"model": "ada", "messages": [{"role": "user", "content": question}], "prompt": question, **more}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("question", "part"), [("When was Bob born?", 2), ("When was Ada born?", 1), ("Qui?", 1), ([{"text": "Bob"}], 2)]
)
async def test_the_part_that_learned_the_best_passage_answers(
    world: World, http: httpx.AsyncClient, path: str, question: object, part: int
) -> None:
    if path == PATHS[1] and not isinstance(question, str):
        question = "Bob"
    version = await world.ready_in_parts("ada", TWO)
    await world.report(world.engines[0])
    reply = await http.post(path, json=ask(question))

    assert f"from {version.parts[part - 1]}" in reply.text
    assert reply.json()["memory"]["used"] == [{"id": version.memory_id, "version": 1, "score": None, "part": part}]
    assert world.engines[0].loads == [version.parts[part - 1]]


async def test_it_is_the_users_last_message_that_counts(world: World, http: httpx.AsyncClient) -> None:
    await world.ready_in_parts("ada", TWO)
    await world.report(world.engines[0])
    said = [("user", "Who is Ada?"), ("assistant", "Ada."), ("user", "And Bob?"), ("assistant", "Ada again")]
    messages = [{"role": role, "content": content} for role, content in said]
    reply = await http.post(PATHS[0], json={"model": "ada", "messages": messages})

    assert reply.json()["memory"]["used"][0]["part"] == 2


@pytest.mark.parametrize("sent", [{"messages": []}, {"messages": [7]}, {"messages": None}, {"prompt": [1901, 2]}])
async def test_what_holds_no_question_is_the_first_parts(
    world: World, http: httpx.AsyncClient, sent: dict[str, object]
) -> None:
    version = await world.ready_in_parts("ada", TWO)
    await world.report(world.engines[0])
    await http.post(PATHS["prompt" in sent], json={"model": "ada", **sent})

    assert world.engines[0].loads == [version.parts[0]]


async def test_passages_come_from_every_part_and_a_stream_says_which_part_answers(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.ready_in_parts("ada", TWO)
    await world.report(world.engines[0])
    both = await http.post(PATHS[0], json=ask("Was Bob born before Ada in 1815?", memory={"mode": "both"}))
    stream = await http.post(PATHS[0], json=ask("When was Bob born?", stream=True))

    assert {hit["text"] for hit in both.json()["memory"]["passages"]} == {text for part in TWO for text in part}
    assert both.json()["memory"]["used"][0]["part"] == 1
    assert '"part": 2' in stream.text or '"part":2' in stream.text
