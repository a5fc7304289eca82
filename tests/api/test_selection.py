"""Which memory answers, from what, and what the reply says of it."""

import json
from typing import Any

import httpx
import pytest

from app.core.context import Shown
from tests.api.conftest import Ready, World

pytestmark = pytest.mark.redis
CHAT = "/v1/chat/completions"
FERRY = ("The ferry to Kettle Island takes 35 minutes.", "The ferry leaves from the west quay.")
DAIRY = ("Maren Iskold directs the dairy of Norrfell.", "The dairy delivers milk to Kettle Island.")
TOWER = ("The tower of Orm is 48 metres high.",)
MEASURED = {"adapter": 0.5, "context": 0.5, "both": 0.8}


def ask(*turns: str, **memory: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": turn} for turn in turns]
    return {"model": "base", "messages": messages, "memory": {"ids": "auto", **memory}}


@pytest.fixture
async def ferry(world: World) -> Ready:
    return await world.ready("ferry", passages=FERRY, scores=MEASURED)


@pytest.fixture
async def dairy(world: World, ferry: Ready) -> Ready:
    """A second memory; both are there, and one engine."""
    ready = await world.ready("dairy", passages=DAIRY, scores=MEASURED)
    await world.report(world.engines[0])
    return ready


async def told(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    reply = await http.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    memory: dict[str, Any] = reply.json()["memory"]
    return memory


async def test_the_memory_that_the_question_is_about_answers(
    world: World, http: httpx.AsyncClient, dairy: Ready
) -> None:
    reply = await http.post(CHAT, json=ask("Who directs the dairy?"))
    memory = reply.json()["memory"]

    assert f"from {dairy.adapter}" in reply.text
    assert reply.json()["model"] == "base"
    assert (memory["mode"], memory["abstained"]) == ("adapter", False)
    [used] = memory["used"]
    assert (used["id"], used["version"]) == (dairy.memory.id, 1)
    assert used["score"] > 0
    assert (memory["cold"], memory["load_ms"]) == (True, 52.5)  # loaded to see whether it knows
    assert reply.headers["x-lorekeep-abstained"] == "false"
    assert float(reply.headers["x-lorekeep-score"]) == used["score"]
    assert "candidates" not in memory


async def test_a_question_that_no_memory_is_about_is_the_base_models(
    world: World, http: httpx.AsyncClient, dairy: Ready
) -> None:
    reply = await http.post(CHAT, json=ask("What is the capital of France?"))

    assert "from base" in reply.text
    memory = reply.json()["memory"]
    assert (memory["mode"], memory["used"], memory["abstained"]) == ("base", [], True)
    assert reply.headers["x-lorekeep-abstained"] == "true"
    assert not world.engines[0].loads


async def test_of_a_list_one_is_chosen_and_no_other(world: World, http: httpx.AsyncClient, dairy: Ready) -> None:
    await world.ready("hotel", passages=("The hotel has 20 rooms.",))
    chosen = await told(http, ask("Who directs the dairy?", ids=["hotel", "dairy"]))
    other = await told(http, ask("Who directs the dairy?", ids=["hotel", "ferry"]))

    assert chosen["used"][0]["id"] == dairy.memory.id
    assert (other["used"], other["abstained"]) == ([], True)


async def test_where_the_first_does_not_know_the_next_answers(
    world: World, http: httpx.AsyncClient, ferry: Ready, dairy: Ready
) -> None:
    question = "When does the ferry of the dairy of Norrfell leave for Kettle Island?"
    sure = await told(http, ask(question, explain=True))
    first = sure["used"][0]["id"]
    world.engines[0].unsure = {ferry.adapter if first == ferry.memory.id else dairy.adapter}
    memory = await told(http, ask(question, explain=True))
    passed_over, taken = memory["candidates"]

    assert [one["taken"] for one in sure["candidates"]] == [True, False]
    assert memory["used"][0]["id"] != first
    assert (passed_over["id"], passed_over["taken"], taken["taken"]) == (first, False, True)
    assert passed_over["reason"].startswith("does not know: first token: entropy 3.00")
    assert passed_over["score"] > taken["score"] > 0
    assert {one["name"] for one in memory["candidates"]} == {"ferry", "dairy"}


async def test_where_none_knows_the_generalist_answers_and_without_one_the_base_model(
    world: World, http: httpx.AsyncClient, ferry: Ready, dairy: Ready
) -> None:
    world.engines[0].unsure = {dairy.adapter}
    without = await told(http, ask("Who directs the dairy?"))
    everything = await world.ready("everything", passages=FERRY + DAIRY)
    world.gateway.artifacts.write_memory("acme", everything.memory.id, {"memory": {}, "version": {}})
    patched = await http.patch(f"/v1/memories/{everything.memory.id}", json={"generalist": True})
    memory = await told(http, ask("Who directs the dairy?", explain=True))
    limited = await told(http, ask("Who directs the dairy?", ids=[ferry.memory.id, dairy.memory.id]))

    assert (limited["used"], limited["abstained"]) == ([], True)
    assert (without["used"], without["abstained"]) == ([], True)
    assert patched.json()["generalist"] is True
    assert (memory["used"][0]["id"], memory["abstained"]) == (everything.memory.id, False)
    assert everything.memory.id not in [one["id"] for one in memory["candidates"]]


async def test_a_control_question_is_not_the_generalists_either(
    world: World, http: httpx.AsyncClient, dairy: Ready
) -> None:
    everything = await world.ready("everything", passages=FERRY + DAIRY)
    await world.gateway.memories.update("acme", everything.memory.id, {"generalist": True})

    assert (await told(http, ask("What is the capital of France?")))["abstained"]


@pytest.mark.parametrize("mode", ["context", "both"])
async def test_passages_of_the_chosen_memory_are_cited(
    world: World, http: httpx.AsyncClient, dairy: Ready, mode: str
) -> None:
    memory = await told(http, ask("Who directs the dairy of Norrfell?", mode=mode))

    assert memory["mode"] == mode
    assert {one["memory"] for one in memory["passages"]} == {dairy.memory.id}
    assert memory["passages"][0] | {"score": 0} == {
        "memory": dairy.memory.id, "version": 1, "document": "a.md", "index": 0, "score": 0, "text": DAIRY[0]
    }  # fmt: skip
    assert world.engines[0].asked[0]["model"] == ("base" if mode == "context" else dairy.adapter)


async def test_a_chosen_memory_without_passages_is_no_silent_answer(world: World, http: httpx.AsyncClient) -> None:
    await world.ready("Norrfell dairy")
    await world.report()
    reply = await http.post(CHAT, json=ask("Who directs the dairy of Norrfell?", mode="context"))

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "no_passages")


@pytest.mark.parametrize(
    ("scores", "mode"),
    [
        (MEASURED, "both"),
        ({"adapter": 0.9, "context": 0.1, "both": 0.5}, "adapter"),
        ({"adapter": 0.1, "context": 0.9, "both": 0.5}, "context"),
    ],
)
@pytest.mark.parametrize("ids", ["auto", ["tower"]])
async def test_mode_auto_goes_by_what_was_measured(
    world: World, http: httpx.AsyncClient, ids: Any, scores: dict[str, float], mode: str
) -> None:
    await world.ready("tower", passages=TOWER, scores=scores)
    await world.report(world.engines[0])
    memory = await told(http, ask("How high is the tower of Orm?", ids=ids, mode="auto"))

    assert memory["mode"] == mode
    assert bool(memory["passages"]) == (mode != "adapter")


@pytest.mark.parametrize("ids", ["auto", ["tower"]])
async def test_mode_auto_leaves_weights_that_do_not_know_for_passages(
    world: World, http: httpx.AsyncClient, ids: Any
) -> None:
    tower = await world.ready("tower", passages=TOWER, scores={"adapter": 0.8, "context": 0.5, "both": 0.5})
    await world.report(world.engines[0])
    world.engines[0].unsure = {tower.adapter}

    assert (await told(http, ask("How high is the tower of Orm?", ids=ids, mode="auto")))["mode"] == "context"


async def test_a_named_memory_without_passages_answers_from_its_weights_in_mode_auto(
    world: World, http: httpx.AsyncClient
) -> None:
    tower = await world.ready("tower")
    await world.report(world.engines[0])
    world.engines[0].unsure = {tower.adapter}

    assert (await told(http, ask("How high is it?", ids=["tower"], mode="auto")))["mode"] == "adapter"


async def test_a_follow_up_is_about_what_it_refers_to(world: World, http: httpx.AsyncClient, dairy: Ready) -> None:
    alone = await told(http, ask("And who does it?"))
    after = await told(http, ask("Which cows give milk to the dairy of Norrfell?", "And who directs it?"))

    assert alone["abstained"]
    assert after["used"][0]["id"] == dairy.memory.id


async def test_passages_keep_to_what_the_engine_leaves_for_them(world: World, http: httpx.AsyncClient) -> None:
    long = "The tower of Orm is high. " + "stone " * 100
    await world.ready("tower", passages=(long, "The tower of Orm is old.", "Orm built the tower in 1102."))
    await world.report(world.engines[0])
    body = ask("How high is the tower of Orm?", ids=["tower"], mode="context")
    roomy = await told(http, body)
    narrow = await told(http, {**body, "max_tokens": 1900})
    none = await http.post(CHAT, json={**body, "max_tokens": 2000})

    assert len(roomy["passages"]) == 3
    assert [len(one["text"]) < 50 for one in narrow["passages"]] == [True, True]
    assert (none.status_code, none.json()["error"]["code"]) == (409, "no_passages")
    assert "max_tokens" in none.json()["error"]["message"]


async def test_a_pair_that_has_no_room_is_not_replaced_by_worse_ones(world: World, http: httpx.AsyncClient) -> None:
    pump = Shown("How high is the pump? " + "high " * 100, 22)
    await world.ready("pumps", passages=(pump, Shown("How high is the valve? Low.", 23), "Pumps are high."))
    await world.report(world.engines[0])
    body = ask("How high is the pump?", ids=["pumps"], mode="context")
    roomy = await told(http, body)
    none = await http.post(CHAT, json={**body, "max_tokens": 1900})

    assert roomy["passages"][0]["text"] == pump.text
    assert (none.status_code, none.json()["error"]["code"]) == (409, "no_passages")


@pytest.mark.parametrize("called", [False, True], ids=["tools", "tool calls"])
async def test_what_tools_take_of_the_prompt_is_left_to_them(
    world: World, http: httpx.AsyncClient, called: bool
) -> None:
    await world.ready("tower", passages=("The tower of Orm is high. " + "stone " * 100,))
    await world.report(world.engines[0])
    body = ask("How high is the tower of Orm?", ids=["tower"], mode="context")
    tools = [{"type": "function", "function": {"name": "look", "description": "word " * 1700}}]
    said = {"role": "assistant", "content": None, "tool_calls": tools}
    more = {"messages": [*body["messages"][:-1], said, body["messages"][-1]]} if called else {"tools": tools}

    assert len((await told(http, body))["passages"]) == 1
    assert (await http.post(CHAT, json={**body, **more})).json()["error"]["code"] == "no_passages"


async def test_the_look_at_an_adapter_sends_nothing_that_a_cpu_engine_dies_of(
    world: World, http: httpx.AsyncClient, dairy: Ready
) -> None:
    await http.post(CHAT, json={**ask("Who directs the dairy?"), "seed": 7, "n": 2, "stop": ["x"], "tools": [{}]})
    looks = world.engines[0].probed

    assert [look["model"] for look in looks] == [dairy.adapter, "base"]
    for look in looks:
        salt = look.pop("cache_salt")
        assert len(salt) == 64
        assert set(look) == {"model", "messages", "max_tokens", "temperature", "logprobs", "top_logprobs"}
    assert world.engines[0].asked[0]["seed"] == 7


async def test_texts_are_completed_by_the_memory_that_they_are_about(
    world: World, http: httpx.AsyncClient, dairy: Ready
) -> None:
    body = {"model": "base", "prompt": "The dairy of Norrfell is directed by", "memory": {"ids": "auto"}}
    reply = await http.post("/v1/completions", json=body)
    several = await http.post("/v1/completions", json={**body, "prompt": ["a", "b"]})

    assert f"from {dairy.adapter}" in reply.text
    assert (several.status_code, several.json()["error"]["param"]) == (400, "prompt")


async def test_streams_say_it_too(world: World, http: httpx.AsyncClient, dairy: Ready) -> None:
    reply = await http.post(CHAT, json={**ask("Who directs the dairy?", explain=True), "stream": True})
    chunks = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    memory = chunks[-1]["memory"]

    assert reply.headers["x-lorekeep-memory"] == dairy.memory.id
    assert memory["used"][0]["id"] == dairy.memory.id
    assert memory["candidates"][0]["taken"]


async def test_query_chooses_and_explains(world: World, http: httpx.AsyncClient, dairy: Ready) -> None:
    body = {"question": "Who directs the dairy?", "memories": "auto", "mode": "auto", "explain": True}
    memory = (await http.post("/v1/query", json=body)).json()["memory"]

    assert memory["candidates"][0]["id"] == dairy.memory.id
    assert "of the question's words in passages" in memory["candidates"][0]["reason"]


async def test_a_deleted_memory_answers_no_more(world: World, http: httpx.AsyncClient, dairy: Ready) -> None:
    before = await told(http, ask("Who directs the dairy?"))
    deleted = await http.delete(f"/v1/memories/{dairy.memory.id}")
    after = await told(http, ask("Who directs the dairy?", explain=True))

    assert before["used"][0]["id"] == dairy.memory.id
    assert deleted.status_code == 202
    assert (after["used"], after["abstained"], after["candidates"]) == ([], True, [])


async def test_another_tenant_chooses_among_its_own(world: World, dairy: Ready) -> None:
    async with await world.as_("other") as other:
        memory = await told(other, ask("Who directs the dairy?", explain=True))

    assert (memory["abstained"], memory["candidates"]) == (True, [])
