"""What is asked is answered by the adapter that was named, or not at all."""

import asyncio
import dataclasses
import json
from typing import Any, cast

import httpx
import pytest
import stamina
from openai import APIError, AsyncOpenAI

from app.core.context import Shown
from tests.api.conftest import World
from tests.api.fake_engine import events_of

pytestmark = pytest.mark.redis
PATHS = ["/v1/chat/completions", "/v1/completions"]


@pytest.fixture(autouse=True)
def no_pauses() -> Any:
    with stamina.set_testing(True, attempts=1, cap=True):
        yield


WHO = {"role": "user", "content": "Who is Ada?"}


def ask(model: object = "base", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [WHO], "prompt": "Who is Ada?", **more}


def openai(http: httpx.AsyncClient) -> AsyncOpenAI:
    return AsyncOpenAI(base_url="http://gateway/v1", api_key="lk_admin", http_client=cast(Any, http), max_retries=0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("by", ["id", "name"])
async def test_a_memory_is_asked_by_id_or_name_and_answers_from_its_own_adapter(
    world: World, http: httpx.AsyncClient, path: str, by: str
) -> None:
    ada = await world.ready("ada")
    await world.report(world.engines[0])
    model = getattr(ada.memory, by)
    reply = await http.post(path, json=ask(model))

    assert reply.status_code == 200, reply.text
    assert f"from {ada.adapter}" in reply.text
    assert reply.json()["model"] == model
    assert reply.json()["memory"] == {
        "mode": "adapter",
        "used": [{"id": ada.memory.id, "version": 1, "score": None}],
        "passages": [],
        "engine": "one",
        "cold": True,
        "load_ms": 52.5,
        "abstained": False,
    }
    headers = {name: value for name, value in reply.headers.items() if name.startswith("x-lorekeep-")}
    assert headers == {
        "x-lorekeep-memory": ada.memory.id,
        "x-lorekeep-version": "1",
        "x-lorekeep-mode": "adapter",
        "x-lorekeep-engine": "one",
        "x-lorekeep-cold": "true",
        "x-lorekeep-load-ms": "52.5",
        "x-lorekeep-abstained": "false",
    }


async def test_the_second_question_finds_the_adapter_warm(world: World, http: httpx.AsyncClient) -> None:
    ada = await world.ready("ada")
    await world.report()
    cold = [(await http.post(PATHS[0], json=ask("ada"))).json()["memory"]["cold"] for _ in range(2)]

    assert cold == [True, False]
    assert [engine.loads for engine in world.engines] == [[ada.adapter], []]
    assert await world.gateway.engines.desired("one") != {}


async def test_everything_of_openais_body_reaches_the_engine_unchanged(world: World, http: httpx.AsyncClient) -> None:
    await world.report(world.engines[0])
    body = ask(temperature=0.5, top_p=0.9, n=2, logprobs=True, tools=[{"x": [1, None]}], stop=["é"], guided_json={})
    await http.post(PATHS[0], json={**body, "memory": {"ids": [], "mode": "adapter"}})
    sent = dict(world.engines[0].asked[0])
    salt = sent.pop("cache_salt")

    assert sent == body
    assert len(salt) == 64


async def test_cache_salts_differ_by_tenant_version_and_the_clients_own(world: World, http: httpx.AsyncClient) -> None:
    await world.ready("ada")
    await world.report(world.engines[0])
    async with await world.as_("other") as other:
        await other.post(PATHS[0], json=ask())
    for body in (ask(), ask("ada"), ask(cache_salt="mine"), ask()):
        await http.post(PATHS[0], json=body)
    salts = [body["cache_salt"] for body in world.engines[0].asked]

    assert len(set(salts)) == 4
    assert salts[1] == salts[4]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (ask("nobody"), 404, ("model_not_found", "model")),
        (ask("mem_" + "0" * 26), 404, ("model_not_found", "model")),
        (ask(""), 400, ("invalid_request", "model")),
        (ask(7), 400, ("invalid_request", "model")),
        (ask(memory={"ids": ["nobody"]}), 404, ("model_not_found", "model")),
        (ask("ada", memory={"ids": ["bob"]}), 400, ("invalid_request", "model")),
        (ask(memory={"ids": ["ada", "bob"]}), 404, ("model_not_found", "model")),
        (ask("ada", memory={"ids": "auto"}), 400, ("invalid_request", "model")),
        (ask(memory={"ids": ["ada"] * 1001}), 400, ("invalid_request", "memory.ids")),
        (ask(memory={"ids": "auto"}, messages=[]), 400, ("invalid_request", "messages")),
        (ask(memory={"mode": "auto"}), 400, ("invalid_request", "memory.ids")),
        (ask("ada", memory={"language": "ko"}), 404, ("guard_not_found", "memory.language")),
        (ask(memory={"language": "ko"}), 404, ("guard_not_found", "memory.language")),
        (
            ask(memory={"ids": ["ada"], "compose": {}, "language": "ko"}),
            400,
            ("unsupported_parameter", "memory.language"),
        ),
        (ask("ada", memory={"color": 1}), 400, ("invalid_request", "memory.color")),
        (ask("ada", memory=[]), 400, ("invalid_request", "memory")),
        (ask(memory={"mode": "context"}), 400, ("invalid_request", "memory.ids")),
        (ask(memory={"mode": "both"}), 400, ("invalid_request", "memory.ids")),
        *(
            (ask("ada", memory={"mode": mode}, messages=messages), 400, ("invalid_request", "messages"))
            for mode in ("context", "both")
            for messages in (["hello", WHO], [5, WHO], [WHO, []], [WHO, None], "hello", None)
        ),
        (ask("ada", memory={"mode": "context"}), 409, ("no_passages", None)),
        (ask("ada", memory={"mode": "both"}), 409, ("no_passages", None)),
        (ask("young"), 409, ("memory_not_ready", "model")),
        (ask(stream="yes"), 400, ("invalid_request", "stream")),
    ],
)
async def test_what_cannot_be_answered_is_refused_and_never_reaches_an_engine(
    world: World, http: httpx.AsyncClient, body: dict[str, Any], status: int, error: tuple[str, str | None]
) -> None:
    await world.ready("ada")
    await http.post("/v1/memories", json={"name": "young", "documents": [{"name": "a.md", "text": "Ada."}]})
    await world.report()
    reply = await http.post(PATHS[0], json=body)
    said = reply.json()["error"]

    assert (reply.status_code, (said["code"], said["param"])) == (status, error), reply.text
    assert not any(engine.asked for engine in world.engines)


async def test_another_tenants_memory_does_not_exist(world: World) -> None:
    ada = await world.ready("ada")
    await world.report()
    async with await world.as_("other") as other:
        codes = [
            (await other.post(PATHS[0], json=ask(model))).status_code for model in ("ada", ada.memory.id, ada.adapter)
        ]

    assert codes == [404, 404, 404]


async def test_context_shows_passages_in_the_systems_message_and_asks_the_base_model(
    world: World, http: httpx.AsyncClient
) -> None:
    ada = await world.ready("ada", passages=("Ada was born in 1815.", "Bees make honey."))
    await world.report()
    question = {
        **ask("ada", memory={"mode": "context"}),
        "messages": [{"role": "user", "content": "When was Ada born?"}],
    }
    reply = (await http.post(PATHS[0], json=question)).json()
    sent = world.engines[0].asked[0]

    assert sent["model"] == "base"
    assert "Ada was born in 1815." in sent["messages"][0]["content"]
    assert "honey" not in sent["messages"][0]["content"]
    assert reply["memory"]["mode"] == "context"
    assert reply["memory"]["used"][0]["id"] == ada.memory.id
    [cited] = reply["memory"]["passages"]
    assert cited.pop("score") > 0
    source = {"memory": ada.memory.id, "version": 1, "document": "a.md", "index": 0}
    assert cited == {**source, "text": "Ada was born in 1815."}


async def test_context_without_a_fitting_passage_is_an_error(world: World, http: httpx.AsyncClient) -> None:
    await world.ready("ada", passages=("Bees make honey.",))
    await world.report()
    reply = await http.post(PATHS[1], json={**ask("ada", memory={"mode": "context"}), "prompt": "xyzzy"})

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "no_passages")


async def test_both_leaves_the_question_as_it_was_learned_and_asks_the_adapter(
    world: World, http: httpx.AsyncClient
) -> None:
    ada = await world.ready("ada", passages=("Ada was born in 1815.",))
    await world.report()
    question = {**ask("ada", memory={"mode": "both"}), "messages": [{"role": "user", "content": "When was Ada born?"}]}
    reply = (await http.post(PATHS[0], json=question)).json()
    sent = world.engines[0].asked[0]

    assert sent["model"] == ada.adapter
    assert sent["messages"] == [
        {"role": "system", "content": "Ada was born in 1815."},
        {"role": "user", "content": "Ada born 1815."},
        {"role": "assistant", "content": "Ada was born in 1815."},
        {"role": "user", "content": "When was Ada born?"},
    ]
    assert [one["text"] for one in reply["memory"]["passages"]] == ["Ada was born in 1815."]
    assert (reply["memory"]["mode"], reply["memory"]["used"][0]["id"]) == ("both", ada.memory.id)


async def test_pairs_found_are_shown_as_turns_and_told_as_passages(world: World, http: httpx.AsyncClient) -> None:
    pairs = Shown("Where was Ada born? In London.", 20), Shown("When was Ada born? In 1815.", 19)
    await world.ready("ada", passages=pairs)
    await world.report()
    question = {**ask("ada", memory={"mode": "both"}), "messages": [{"role": "user", "content": "When? Ada's birth"}]}
    reply = (await http.post(PATHS[0], json=question)).json()

    assert world.engines[0].asked[0]["messages"] == [
        {"role": "user", "content": "Where was Ada born?"},
        {"role": "assistant", "content": "In London."},
        {"role": "user", "content": "When was Ada born?"},
        {"role": "assistant", "content": "In 1815."},
        *question["messages"],
    ]
    assert [one["text"] for one in reply["memory"]["passages"]] == [pairs[1].text, pairs[0].text]


@pytest.mark.parametrize("mode", ["adapter", "context", "both"])
async def test_query_answers_people_with_no_openai_client(world: World, http: httpx.AsyncClient, mode: str) -> None:
    await world.ready("ada", passages=("Ada was born in 1815.",))
    await world.report()
    reply = await http.post("/v1/query", json={"question": "When was Ada born?", "memories": ["ada"], "mode": mode})

    assert reply.json()["answer"].startswith("from ")
    assert reply.json()["memory"]["mode"] == mode
    assert reply.json()["usage"]["total_tokens"] == 5


async def test_a_stream_carries_the_memory_object_in_its_last_chunk_with_choices(
    world: World, http: httpx.AsyncClient
) -> None:
    ada = await world.ready("ada")
    await world.report()
    stream = await openai(http).chat.completions.create(
        model="ada",
        messages=[{"role": "user", "content": "?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    told: list[Any] = [getattr(chunk, "memory", None) for chunk in chunks]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).startswith(
        f"from{ada.adapter}"
    )
    assert {chunk.model for chunk in chunks} == {"ada"}
    assert [number for number, memory in enumerate(told) if memory] == [len(chunks) - 2]
    assert told[-2]["used"][0]["id"] == ada.memory.id
    assert chunks[-1].usage is not None


async def test_a_stream_is_otherwise_the_engines_own_bytes(world: World, http: httpx.AsyncClient) -> None:
    await world.report(world.engines[0])
    reply = await http.post(PATHS[0], json=ask(stream=True))
    sent = events_of(world.engines[0].asked[0])

    *events, last, done = [event + b"\n\n" for event in reply.content.split(b"\n\n")[:-1]]
    assert events == sent[:-2]
    assert done == sent[-1]
    assert json.loads(last[6:]) == {**json.loads(sent[-2][6:]), "memory": json.loads(last[6:])["memory"]}


async def test_tokens_are_passed_on_as_they_come(world: World) -> None:
    await world.report(world.engines[0])
    world.engines[0].hold = asyncio.Event()
    line = world.open(PATHS[0], ask(stream=True))
    start, first, second = await line.next(), await line.next(), await line.next()

    assert start["status"] == 200
    assert b"assistant" in first["body"]
    assert b"from" in second["body"]
    world.engines[0].hold.set()
    await line.leave()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_ends_the_engines_request_and_frees_the_seat(world: World, stream: bool) -> None:
    await world.ready("ada")
    engine = world.engines[0]
    await world.report(engine)
    engine.hold = asyncio.Event()
    line = world.open(PATHS[0], ask("ada", stream=stream))
    if stream:
        for _ in range(3):
            await line.next()
    else:
        await engine.begun.wait()
    assert (engine.active, world.gateway.fleet.in_flight) == (1, 1)
    await line.leave()

    assert (engine.active, world.gateway.fleet.in_flight) == (0, 0)


async def test_an_engine_that_breaks_off_makes_the_openai_client_raise(world: World, http: httpx.AsyncClient) -> None:
    await world.report(world.engines[0])
    world.engines[0].break_after = 2
    stream = await openai(http).chat.completions.create(
        model="base", messages=[{"role": "user", "content": "?"}], stream=True
    )
    with pytest.raises(APIError, match="broke off"):
        [chunk async for chunk in stream]

    assert (world.engines[0].closed, world.gateway.fleet.in_flight) == (1, 0)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_adapter_that_a_restarted_engine_lost_is_loaded_again(
    world: World, http: httpx.AsyncClient, stream: bool
) -> None:
    ada = await world.ready("ada")
    await world.report(world.engines[0], holding=(ada.adapter,))
    world.engines[0].held.clear()
    reply = await http.post(PATHS[0], json=ask("ada", stream=stream))

    assert reply.status_code == 200
    assert ada.adapter in "".join(world.engines[0].loads)
    assert world.gateway.fleet.in_flight == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_an_engine_never_answered_goes_to_another(
    world: World, http: httpx.AsyncClient, stream: bool
) -> None:
    await world.report()
    world.engines[0].fail = [httpx.ConnectError] * 5
    reply = await http.post(PATHS[0], json=ask(stream=stream))

    assert reply.status_code == 200
    assert reply.headers["x-lorekeep-engine"] == "two"
    assert world.gateway.fleet.in_flight == 0


async def test_engines_that_all_fail_are_a_502_that_frees_the_seats(world: World, http: httpx.AsyncClient) -> None:
    await world.report()
    for engine in world.engines:
        engine.fail = [httpx.ReadError] * 5
    reply = await http.post(PATHS[0], json=ask())

    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "engine_failed")
    assert world.gateway.fleet.in_flight == 0


async def test_a_request_that_times_out_is_not_sent_twice(world: World, http: httpx.AsyncClient) -> None:
    await world.report()
    world.engines[0].fail = [httpx.ReadTimeout]
    reply = await http.post(PATHS[0], json=ask())

    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "engine_timeout")
    assert not world.engines[1].asked


async def test_no_engine_is_a_503_that_says_when_to_come_back(http: httpx.AsyncClient) -> None:
    reply = await http.post(PATHS[0], json=ask())

    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "no_engine")
    assert int(reply.headers["retry-after"]) > 0


@pytest.mark.parametrize("stream", [True, False])
async def test_vllms_refusal_keeps_its_words(world: World, http: httpx.AsyncClient, stream: bool) -> None:
    await world.report(world.engines[0])
    world.engines[0].refuse = (400, {"error": {"message": "n is too small", "type": "x", "code": 400, "param": "n"}})
    reply = await http.post(PATHS[0], json=ask(n=-1, stream=stream))

    error = {"message": "n is too small", "type": "invalid_request_error", "code": "invalid_request", "param": "n"}
    assert (reply.status_code, reply.json()["error"]) == (400, error)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"7", b'"x"', b"\xff\xfe", b'{"model": NaN}', b'{"model": "base", "top_p": 1e999}',
     b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"model": "base", "prompt": "\\ud800"}', b"9" * 10_000],
)  # fmt: skip
@pytest.mark.parametrize("path", [*PATHS, "/v1/query"])
async def test_a_body_that_is_no_fit_json_is_a_400(
    world: World, http: httpx.AsyncClient, path: str, content: bytes
) -> None:
    await world.report()
    reply = await http.post(path, content=content[:49_000], headers={"content-type": "application/json"})

    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["message"]


async def test_24_questions_at_once_are_each_answered_by_the_adapter_they_name(
    world: World, http: httpx.AsyncClient
) -> None:
    ready = {name: (await world.ready(name)).adapter for name in ("a", "b", "c")} | {"base": "base"}
    await world.report()
    names = [*ready] * 6
    replies = await asyncio.gather(*[http.post(PATHS[0], json=ask(name)) for name in names])
    said = [reply.json()["choices"][0]["message"]["content"] for reply in replies]

    assert said == [f"from {ready[name]}" for name in names]
    assert {name for engine in world.engines for name in engine.loads} == {*ready.values()} - {"base"}


async def test_an_adapter_that_is_missing_is_loaded_once_however_many_ask(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.ready("ada")
    await world.report(world.engines[0])
    await asyncio.gather(*[http.post(PATHS[0], json=ask("ada")) for _ in range(8)])

    assert len(world.engines[0].loads) == 1


async def test_models_lists_base_and_what_serves_by_id_and_name(world: World, http: httpx.AsyncClient) -> None:
    ada = await world.ready("ada")
    await http.post("/v1/memories", json={"name": "young", "documents": [{"name": "a.md", "text": "Ada."}]})
    models = [model.id async for model in openai(http).models.list()]

    assert models == ["base", ada.memory.id, "ada"]
    assert (await http.get("/v1/models/ada")).json()["owned_by"] == "acme"
    assert (await http.get("/v1/models/young")).status_code == 404


async def test_a_rollback_answers_from_the_older_version_at_once(world: World, http: httpx.AsyncClient) -> None:
    ada = await world.ready("ada", number=2)
    older = ada.adapter.replace(".v2.222222222222", ".v1.111111111111")
    newer = await world.gateway.versions.get("acme", ada.memory.id, 2)
    await world.gateway.versions.restore(dataclasses.replace(newer, number=1, adapter=older))
    await world.report(world.engines[0])
    world.gateway.artifacts.write_memory("acme", ada.memory.id, {"memory": {}, "version": {}})
    changed = await http.patch(f"/v1/memories/{ada.memory.id}", json={"version": 1})
    reply = await http.post(PATHS[0], json=ask("ada"))

    assert changed.json()["version"] == 1
    assert f"from {older}" in reply.text
