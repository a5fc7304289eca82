"""Several memories in one answer: a composite of their current versions, which the reply describes."""

from typing import Any

import httpx
import pytest

from app.core.composition import Composition
from app.core.names import AdapterName
from app.core.roles import Role
from tests.api.conftest import Ready, World

pytestmark = pytest.mark.redis
CHAT = "/v1/chat/completions"


def ask(ids: list[str], model: str = "base", mode: str = "adapter", **compose: Any) -> dict[str, Any]:
    memory = {"ids": ids, "mode": mode, "compose": compose}
    return {"model": model, "messages": [{"role": "user", "content": "Who?"}], "memory": memory}


def of(*readies: Ready, method: str = "cat", **options: Any) -> Composition:
    return Composition.of(method, [AdapterName.parse(ready.adapter) for ready in readies], **options)


@pytest.fixture
async def two(world: World) -> tuple[Ready, Ready]:
    made = await world.ready("ada", number=1), await world.ready("bob", number=2)
    await world.report()
    return made


async def test_several_memories_answer_from_their_composite_and_the_reply_says_so(
    two: tuple[Ready, Ready], http: httpx.AsyncClient
) -> None:
    ada, bob = two
    reply = await http.post(CHAT, json=ask(["bob", ada.memory.id], method="ties", weights=[2, 1], density=0.25))
    made = of(bob, ada, method="ties", weights=[2.0, 1.0], density=0.25)
    used: list[dict[str, Any]] = [{"id": one.owner, "version": one.version, "score": None} for one in made.members]

    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"] == f"from {made.name}"
    assert reply.json()["memory"] == {
        "mode": "adapter",
        "used": used,
        "compose": {"method": "ties", "weights": list(made.weights), "density": 0.25, "max_rank": None, "rank": 8},
        "passages": [],
        "engine": "one",
        "cold": True,
        "load_ms": 80.0,
        "abstained": False,
    }
    assert reply.headers["x-lorekeep-memory"] == ",".join(one["id"] for one in used)


async def test_the_order_of_ids_makes_no_second_composite(
    world: World, two: tuple[Ready, Ready], http: httpx.AsyncClient
) -> None:
    cold = [
        (await http.post(CHAT, json=ask(ids, method="cat"))).json()["memory"]["cold"]
        for ids in (["ada", "bob"], ["bob", "ada"])
    ]

    assert cold == [True, False]
    assert world.engines[0].composes == 1


async def test_a_query_composes_as_well_and_concatenates_where_nothing_else_is_said(
    two: tuple[Ready, Ready], http: httpx.AsyncClient
) -> None:
    body = {"question": "Who?", "memories": ["ada", "bob"], "compose": {}}
    reply = (await http.post("/v1/query", json=body)).json()

    assert reply["answer"] == f"from {of(*two).name}"


async def test_one_memory_composed_is_that_memory(two: tuple[Ready, Ready], http: httpx.AsyncClient) -> None:
    reply = (await http.post(CHAT, json=ask(["ada"], method="cat"))).json()

    assert reply["choices"][0]["message"]["content"] == f"from {two[0].adapter}"
    assert "compose" not in reply["memory"]


async def test_a_stream_comes_from_the_composite(
    world: World, two: tuple[Ready, Ready], http: httpx.AsyncClient
) -> None:
    reply = await http.post(CHAT, json={**ask(["ada", "bob"], method="cat"), "stream": True})

    assert reply.status_code == 200
    assert world.engines[0].asked[-1]["model"] == str(of(*two).name)
    assert '"compose":' in reply.text


async def test_a_composite_that_the_engine_lost_is_made_again(
    world: World, two: tuple[Ready, Ready], http: httpx.AsyncClient
) -> None:
    await http.post(CHAT, json=ask(["ada", "bob"], method="cat"))
    world.engines[0].held.clear()
    reply = await http.post(CHAT, json=ask(["ada", "bob"], method="cat"))

    assert (reply.status_code, reply.json()["memory"]["cold"]) == (200, True)
    assert world.engines[0].composes == 2


async def test_a_new_version_is_in_another_composite(
    world: World, two: tuple[Ready, Ready], http: httpx.AsyncClient
) -> None:
    ada, bob = two
    first = (await http.post(CHAT, json=ask(["ada", "bob"], method="cat"))).json()
    newer = AdapterName("acme", ada.memory.id, 2, "e" * 12)
    version = await world.gateway.versions.get("acme", ada.memory.id, 1)
    await world.gateway.versions.restore(
        version.__class__(**{**vars(version), "number": 2, "adapter": str(newer), "digest": "e" * 64})
    )
    await world.gateway.memories.update("acme", ada.memory.id, {"current": 2})
    second = (await http.post(CHAT, json=ask(["ada", "bob"], method="cat"))).json()
    said = [reply["choices"][0]["message"]["content"] for reply in (first, second)]

    assert said == [f"from {of(ada, bob).name}", f"from {of(Ready(ada.memory, str(newer)), bob).name}"]


async def test_another_tenants_memory_is_in_no_composite(world: World, two: tuple[Ready, Ready]) -> None:
    await world.ready("eve", tenant="other", number=3)
    async with await world.as_("other", Role.READER) as other:
        replies = [
            await other.post(CHAT, json=ask(ids, method="cat"))
            for ids in (["eve", two[0].memory.id], ["eve", "ada"], ["eve", two[0].adapter])
        ]

    assert [reply.status_code for reply in replies] == [404] * 3
    assert not any(engine.composes for engine in world.engines)


async def test_a_deleted_member_is_not_found_though_the_composite_is_still_loaded(
    two: tuple[Ready, Ready], http: httpx.AsyncClient
) -> None:
    await http.post(CHAT, json=ask(["ada", "bob"], method="cat"))
    await http.delete(f"/v1/memories/{two[0].memory.id}")

    assert (await http.post(CHAT, json=ask(["ada", "bob"], method="cat"))).status_code == 404


async def test_a_composite_that_broke_is_refused_with_its_figures(
    world: World, two: tuple[Ready, Ready], http: httpx.AsyncClient
) -> None:
    for engine in world.engines:
        engine.refuse_composites = True
    reply = await http.post(CHAT, json=ask(["ada", "bob"], method="cat"))
    error = reply.json()["error"]

    assert (reply.status_code, error["code"]) == (422, "composite_rejected")
    assert "3.00 nats" in error["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (ask(["ada", "bob"], method="svd"), "memory.compose.method"),
        (ask(["ada", "bob"], color=1), "memory.compose.color"),
        (ask(["ada", "bob"], weights=[1]), "memory.compose"),
        (ask(["ada"], weights=[1, 2]), "memory.compose"),
        (ask(["ada", "bob"], density=0.5), "memory.compose"),
        (ask(["ada", "bob"], max_rank=0), "memory.compose"),
        (ask(["ada", "ada"]), "memory.compose"),
        (ask(["ada"] * 9), "memory.ids"),
        (ask(["ada", "bob"], model="ada"), "model"),
        (ask(["ada", "bob"], mode="both"), "memory.mode"),
        (ask([]), "memory.ids"),
    ],
)
async def test_what_cannot_be_composed_is_refused_and_never_reaches_an_engine(
    world: World, two: tuple[Ready, Ready], http: httpx.AsyncClient, body: dict[str, Any], param: str
) -> None:
    reply = await http.post(CHAT, json=body)

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
    assert not any(engine.composes or engine.asked for engine in world.engines)


async def test_a_composite_is_listed_with_the_tenants_adapters_and_cannot_be_pinned(
    world: World, two: tuple[Ready, Ready], http: httpx.AsyncClient
) -> None:
    name = str(of(*two).name)
    await world.report(world.engines[0], holding=(name,))
    async with await world.as_("other") as other:
        theirs = (await other.get("/v1/adapters")).json()["data"]

    assert [one["id"] for one in (await http.get("/v1/adapters")).json()["data"]] == [name]
    assert theirs == []
    assert (await http.post(f"/v1/adapters/{name}/pin")).status_code == 404
