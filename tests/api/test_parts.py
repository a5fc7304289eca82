"""A memory of several parts over HTTP: all of them are shown, pinned, warmed and unloaded."""

import dataclasses
from typing import Any

import httpx
import pytest

from app.core.composition import Composition
from app.core.memory import Version
from app.core.names import AdapterName
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
    ("question", "part"),
    [("When was Bob born?", 2), ("When was Ada born?", 1), ("Qui?", 1), ([{"type": "text", "text": "Bob"}], 2)],
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
    said = [("user", "Who is Ada?"), ("assistant", "Ada."), ("user", "When was Bob born?"), ("assistant", "Ada again")]
    messages = [{"role": role, "content": content} for role, content in said]
    reply = await http.post(PATHS[0], json={"model": "ada", "messages": messages})
    messages[2:] = [{"role": "user", "content": "When was Bob born?"}, {"role": "user", "content": "And where?"}]
    referring = await http.post(PATHS[0], json={"model": "ada", "messages": messages})

    assert reply.json()["memory"]["used"][0]["part"] == 2
    assert referring.json()["memory"]["used"][0]["part"] == 2


@pytest.mark.parametrize("sent", [{"messages": []}, {"messages": [7]}, {"messages": None}, {"prompt": [1901, 2]}])
async def test_what_holds_no_question_is_the_first_parts(
    world: World, http: httpx.AsyncClient, sent: dict[str, object]
) -> None:
    version = await world.ready_in_parts("ada", TWO)
    await world.report(world.engines[0])
    await http.post(PATHS["prompt" in sent], json={"model": "ada", **sent})

    assert world.engines[0].loads == [version.parts[0]]


async def test_a_long_list_of_prompts_is_gone_by_as_one_long_prompt_is_by_its_end(
    world: World, http: httpx.AsyncClient
) -> None:
    version = await world.ready_in_parts("ada", TWO)
    await world.report(world.engines[0])
    prompts = ["When was Ada born? Ada, in 1815?", "and " * 2500, "Bob"]
    await http.post(PATHS[1], json={"model": "ada", "prompt": " ".join(prompts)})
    await http.post(PATHS[1], json={"model": "ada", "prompt": prompts})

    assert world.engines[0].loads == [version.parts[1]]


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


@pytest.fixture
async def chosen_from(world: World) -> Version:
    """A memory of two parts and one of one adapter, with an engine."""
    version = await world.ready_in_parts("ada", TWO)
    await world.ready("ferry", passages=("The ferry to Kettle Island takes 35 minutes.",))
    await world.report(world.engines[0])
    return version


@pytest.mark.parametrize("ids", ["auto", ["ferry", "ada"]])
@pytest.mark.parametrize("asked", [("When was Bob born?", 2), ("When was Ada born?", 1)])
async def test_selection_takes_a_memory_by_all_its_parts_and_then_the_one_that_knows(
    world: World, http: httpx.AsyncClient, chosen_from: Version, ids: object, asked: tuple[str, int]
) -> None:
    question, part = asked
    reply = await http.post(PATHS[0], json=ask(question, model="base", memory={"ids": ids, "explain": True}))
    told: dict[str, Any] = reply.json()["memory"]
    [used] = told["used"]

    assert (used["id"], used["part"]) == (chosen_from.memory_id, part)
    assert used["score"] > 0
    assert world.engines[0].loads == [chosen_from.parts[part - 1]]
    assert [one["id"] for one in told["candidates"]] == [chosen_from.memory_id]


async def test_a_chosen_memory_cites_passages_of_every_part(http: httpx.AsyncClient, chosen_from: Version) -> None:
    asked = ask("Was Bob born before Ada in 1815?", model="base", memory={"ids": "auto", "mode": "both"})
    told = (await http.post(PATHS[0], json=asked)).json()["memory"]

    assert {hit["text"] for hit in told["passages"]} == {text for part in TWO for text in part}
    assert told["used"][0]["part"] == 1


async def test_a_generalist_answers_from_the_part_that_the_question_is_for(
    world: World, http: httpx.AsyncClient, chosen_from: Version
) -> None:
    await world.gateway.memories.update("acme", chosen_from.memory_id, {"generalist": True})
    ferry = await world.gateway.memories.find("acme", "ferry")
    world.engines[0].unsure = set(await world.gateway.versions.adapters("acme", ferry.id, 1))
    asked = ask("Does the ferry to Kettle Island know when Bob was born?", model="base", memory={"ids": "auto"})
    told = (await http.post(PATHS[0], json=asked)).json()["memory"]

    assert (told["used"][0]["id"], told["used"][0]["part"]) == (chosen_from.memory_id, 2)


async def test_a_composite_is_made_of_every_part_with_its_memorys_weight(
    http: httpx.AsyncClient, chosen_from: Version, world: World
) -> None:
    ferry = await world.gateway.memories.find("acme", "ferry")
    [other] = await world.gateway.versions.adapters("acme", ferry.id, 1)
    memory = {"ids": ["ferry", "ada"], "compose": {"weights": [3, 2]}}
    reply = await http.post(PATHS[0], json=ask("When was Bob born?", model="base", memory=memory))
    members = [AdapterName.parse(name) for name in (other, *chosen_from.parts)]
    made = Composition.of("cat", members, weights=[3.0, 2.0, 2.0])
    told = reply.json()["memory"]

    assert f"from {made.name}" in reply.text
    assert told["compose"]["weights"] == list(made.weights)
    assert [(one["id"], one.get("part")) for one in told["used"]] == [
        (one.owner, None if str(one) == other else chosen_from.parts.index(str(one)) + 1) for one in made.members
    ]


async def test_parts_count_among_the_members_that_a_composite_may_have(world: World, http: httpx.AsyncClient) -> None:
    await world.ready("ferry")
    await world.ready_in_parts("large", [(f"Number {number}.",) for number in range(8)])
    await world.report(world.engines[0])
    memory = {"ids": ["ferry", "large"], "compose": {}}
    reply = await http.post(PATHS[0], json=ask("Who?", model="base", memory=memory))

    assert reply.status_code == 400
    assert "1 to 8 members, not 9" in reply.json()["error"]["message"]


async def test_no_guard_is_trained_on_top_of_parts(world: World, http: httpx.AsyncClient) -> None:
    await world.ready_in_parts("ada", TWO)
    reply = await http.post("/v1/languages", json={"language": "ko", "memory": "ada"})

    assert reply.status_code == 400
    assert "has 2 parts" in reply.json()["error"]["message"]
