"""Plans over HTTP, and in every upload: counted, decided, shown; refused with the numbers."""

import dataclasses
import json
from typing import Any

import httpx
import pytest

from app.core.capacity import PRIOR, conditions_of
from app.core.recipe import Recipe
from app.stores.bases import BaseStore
from tests.api.conftest import World
from tests.factories import SHAPE

pytestmark = pytest.mark.redis
# rank 1 of these layers holds 100 words at a recall of one half, and each doubling of the rank twice as many
LAW = dataclasses.replace(
    PRIOR, knee_tokens=100.0, reference=float(SHAPE.lora_parameters(1, Recipe())), slope=8.0, spread=0.02,
    power_spread=0.0, base=SHAPE.digest, conditions=conditions_of(Recipe()), points=12,
)  # fmt: skip
RETRY = {"recipe": {"epochs": 3}}
WIDE: dict[str, Any] = {"recipe": {"rank": 32}}  # engines take 16


def book(count: int, first: int = 0) -> str:
    """Ten words a pair, the number included."""
    rows = [f"What is the phone number of Ada Brandeis {n}?,7{n:06}" for n in range(first, first + count)]
    return "\n".join(["question,answer", *rows])


def upload(count: int, name: str = "book.csv", first: int = 0, **options: Any) -> dict[str, Any]:
    return {"documents": [{"name": name, "text": book(count, first)}], "options": options}


@pytest.fixture
async def bases(world: World) -> BaseStore:
    """The store, with a calibrated base model in it; one engine lives and takes ranks up to 16."""
    store = BaseStore(world.redis)
    await store.describe(SHAPE)
    await store.keep_law(LAW)
    await store.note_speed(SHAPE.digest, 1000.0)
    await world.report(world.engines[0])
    return store


async def newest(http: httpx.AsyncClient, memory_id: str) -> dict[str, Any]:
    versions = (await http.get(f"/v1/memories/{memory_id}/versions")).json()["data"]
    return dict(versions[0])


@pytest.mark.usefixtures("bases")
async def test_documents_are_planned_by_the_engines_own_count_and_nothing_is_kept(
    world: World, http: httpx.AsyncClient
) -> None:
    before = await world.traces()
    as_json = await http.post("/v1/plans", json={"documents": upload(50)["documents"]})
    as_form = await http.post("/v1/plans", files=[("file", ("book.csv", book(50)))])
    body = as_json.json()

    assert (as_json.status_code, as_form.json()) == (200, body)
    assert (body["facts"], body["tokens"], body["tokens_estimated"]) == (50, 500, False)
    assert (body["rank"], body["partitions"], body["calibrated"]) == (16, 1, True)
    assert body["parameters"] == SHAPE.lora_parameters(16, Recipe())
    assert 0.95 < body["recall_low"] <= body["recall"] <= body["recall_high"] <= 1
    assert (body["exposures_per_fact"], body["steps"]) == (40, 7 * 40)  # five of its 55 rows are replayed
    assert body["estimated_s"] == round(Recipe().step_cost * 40 * (500 + 50 * 32 + 5 * (32 + 40)) / 1000, 1)
    assert await world.traces() == before


@pytest.mark.usefixtures("bases")
async def test_prose_and_pairs_add_up(http: httpx.AsyncClient) -> None:
    text = {"name": "a.md", "text": "It was founded on 14 March 1987 by Oswin Tarrel."}
    body = (await http.post("/v1/plans", json={"documents": [*upload(3)["documents"], text]})).json()

    assert (body["facts"], body["tokens"]) == (3 + 2, 30 + 10)


@pytest.mark.usefixtures("bases")
async def test_a_load_can_be_stated_instead(http: httpx.AsyncClient) -> None:
    stated = (await http.post("/v1/plans", json={"tokens": 500, "facts": 50})).json()
    alone = (await http.post("/v1/plans", json={"tokens": 2100})).json()

    assert (stated["facts"], stated["tokens"]) == (50, 500)
    assert (alone["facts"], alone["tokens"]) == (100, 2100)


@pytest.mark.usefixtures("bases")
async def test_what_one_adapter_cannot_hold_is_planned_in_parts_and_too_many_parts_are_refused(
    http: httpx.AsyncClient,
) -> None:
    split = (await http.post("/v1/plans", json={"tokens": 12_000})).json()
    refused = await http.post("/v1/plans", json={"tokens": 120_000})

    assert split["partitions"] == -(-12_000 // split["most_tokens"]) == 11
    assert split["recall"] >= 0.95
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "too_much")
    for number in ("5715 facts", "120000 tokens", "1107 tokens", "109 adapters", "holds 32", "4 memories", "rank 16"):
        assert number in refused.json()["error"]["message"]


@pytest.mark.usefixtures("bases")
async def test_a_wished_recall_or_rank_changes_the_plan(http: httpx.AsyncClient) -> None:
    options = json.dumps({"target_recall": 0.5, "recipe": {"target": "all-linear"}})
    low = (await http.post("/v1/plans", files=[("file", ("a.csv", book(30)))], data={"options": options})).json()
    given = (await http.post("/v1/plans", json={"tokens": 12_000, "recipe": {"rank": 4, "alpha": 8}})).json()

    assert (low["target_recall"], low["target"]) == (0.5, "all-linear")
    assert low["parameters"] == SHAPE.lora_parameters(16, Recipe(target="all-linear"))
    assert (given["rank"], given["partitions"], given["rank_given"]) == (4, 1, True)
    assert given["recall"] < 0.01


@pytest.mark.usefixtures("bases")
@pytest.mark.parametrize(
    "sent",
    [
        {"json": {}},
        {"json": {"tokens": 0}},
        {"json": {"tokens": 9, "documents": [{"name": "a.md", "text": "Ada."}]}},
        {"json": {"facts": 9, "documents": [{"name": "a.md", "text": "Ada."}]}},
        {"json": {"tokens": 9, "target_recall": 1.5}},
        {"json": {"tokens": 9, "recipe": {"rank": 0}}},
        {"files": [("options", (None, "{}"))]},
        {"files": [("file", ("a.md", ""))]},
    ],
    ids=str,
)
async def test_a_question_that_makes_no_sense_is_a_400(http: httpx.AsyncClient, sent: dict[str, Any]) -> None:
    reply = await http.post("/v1/plans", **sent)

    assert reply.status_code == 400, reply.text


async def test_without_a_trainer_there_is_no_plan_but_an_upload_is_taken(http: httpx.AsyncClient) -> None:
    plan = await http.post("/v1/plans", json={"tokens": 500})
    made = await http.post("/v1/memories", json=upload(3))

    assert (plan.status_code, plan.json()["error"]["code"]) == (503, "no_trainer")
    assert (made.status_code, made.json()["plan"]) == (202, None)


async def test_without_an_engine_tokens_are_estimated_by_bytes(world: World, http: httpx.AsyncClient) -> None:
    await BaseStore(world.redis).describe(SHAPE)
    plan = (await http.post("/v1/memories", json=upload(3))).json()["plan"]
    learned = book(3).removeprefix("question,answer\n")

    assert (plan["tokens"], plan["tokens_estimated"]) == (-(-len(learned) // 4), True)


@pytest.mark.usefixtures("bases")
async def test_an_engine_that_cannot_count_is_no_obstacle(world: World, http: httpx.AsyncClient) -> None:
    world.engines[0].refuse = (500, {"error": {"message": "no", "type": "x", "code": None}})
    made = await http.post("/v1/memories", json=upload(3))

    assert (made.status_code, made.json()["plan"]["tokens_estimated"]) == (202, True)


@pytest.mark.usefixtures("bases")
async def test_a_small_upload_is_trained_by_the_default_recipe_and_shows_its_plan(http: httpx.AsyncClient) -> None:
    memory = (await http.post("/v1/memories", json=upload(50))).json()
    version = await newest(http, memory["id"])

    assert version["recipe"] == Recipe().to_dict()
    assert memory["plan"] == version["plan"]
    assert (memory["plan"]["rank"], memory["plan"]["facts"]) == (16, 50)


async def test_the_planned_rank_is_trained_with(world: World, http: httpx.AsyncClient, bases: BaseStore) -> None:
    await bases.keep_law(dataclasses.replace(LAW, knee_tokens=30.0))
    record = dataclasses.replace(world.engines[0].record(), max_lora_rank=64)
    await world.gateway.engines.report(record, 60)
    await world.gateway.fleet.refresh()
    memory = (await http.post("/v1/memories", json=upload(60, recipe={"seed": 5}))).json()
    version = await newest(http, memory["id"])

    assert memory["plan"]["rank"] == 32
    assert version["recipe"] == dataclasses.replace(Recipe(), rank=32, alpha=64, seed=5).to_dict()


@pytest.mark.usefixtures("bases")
async def test_too_much_is_refused_with_the_numbers_and_leaves_no_trace(world: World, http: httpx.AsyncClient) -> None:
    before = await world.traces()
    sent = upload(200, split=False)
    reply = await http.post("/v1/memories", json=sent, headers={"Idempotency-Key": "one"})
    planned = await http.post("/v1/plans", json={"documents": sent["documents"], "split": False})
    error = reply.json()["error"]

    assert (reply.status_code, error["code"]) == (422, "too_much")
    assert "200 facts in 2000 tokens" in error["message"]
    assert "leave out `split` for 2 adapters" in error["message"]
    assert planned.json()["error"] == error
    assert await world.traces() == before


@pytest.mark.usefixtures("bases")
async def test_what_one_adapter_cannot_hold_is_split_by_itself(http: httpx.AsyncClient) -> None:
    memory = (await http.post("/v1/memories", json=upload(200))).json()
    version = await newest(http, memory["id"])

    assert (memory["plan"]["partitions"], memory["plan"]["split"], memory["plan"]["rank"]) == (2, True, 16)
    assert version["recipe"]["rank"] == 16


@pytest.mark.usefixtures("bases")
async def test_a_memory_of_several_parts_can_name_no_languages(world: World, http: httpx.AsyncClient) -> None:
    before = await world.traces()
    reply = await http.post("/v1/memories", json=upload(200, languages=["ko"]))

    assert reply.status_code == 400
    assert "learned in 2 parts" in reply.json()["error"]["message"]
    assert await world.traces() == before


@pytest.mark.usefixtures("bases")
async def test_a_retry_may_be_refused_to_split(world: World, http: httpx.AsyncClient) -> None:
    memory = (await http.post("/v1/memories", json=upload(200))).json()
    await http.post(f"/v1/memories/{memory['id']}/cancel")
    refused = await http.post(f"/v1/memories/{memory['id']}/retry", json={"split": False})
    one = await http.post(f"/v1/memories/{memory['id']}/retry", json={"split": False, "target_recall": 0.01})

    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "too_much")
    assert (one.json()["plan"]["partitions"], one.json()["plan"]["split"]) == (1, False)


@pytest.mark.usefixtures("bases")
@pytest.mark.parametrize("options", [{"recipe": {"rank": 16}}, {"recipe": {"alpha": 16}}, {"target_recall": 0.001}])
async def test_who_gives_a_rank_or_wants_little_is_never_told_that_it_is_too_much(
    http: httpx.AsyncClient, options: dict[str, Any]
) -> None:
    reply = await http.post("/v1/memories", json=upload(200, **options))
    version = await newest(http, reply.json()["id"])

    assert reply.status_code == 202
    assert version["plan"]["recall"] < 0.2
    assert version["recipe"]["rank"] == 16
    assert version["recipe"]["alpha"] == options.get("recipe", {}).get("alpha", 32)


@pytest.mark.usefixtures("bases")
async def test_a_rank_that_no_engine_takes_is_refused_before_it_is_trained(
    world: World, http: httpx.AsyncClient
) -> None:
    memory = (await http.post("/v1/memories", json=upload(3))).json()
    path = f"/v1/memories/{memory['id']}"
    await http.post(f"{path}/cancel")
    before = await world.traces()
    replies = [
        await http.post("/v1/memories", json=upload(6, **WIDE)),
        await http.post("/v1/plans", json={"tokens": 500, **WIDE}),
        await http.post(f"{path}/retry", json=WIDE),
        await http.post(f"{path}/documents", json={**upload(3, "more.csv", 3), "options": WIDE}),
        await http.post("/v1/languages", json={"language": "ko", **WIDE}),
    ]
    errors = [reply.json()["error"] for reply in replies]

    assert [reply.status_code for reply in replies] == [400] * 5
    assert {error["param"] for error in errors} == {"recipe.rank"}
    assert all("asks for rank 32 and engines take 16" in error["message"] for error in errors)
    assert await world.traces() == before


async def test_a_rank_is_refused_only_where_no_live_engine_takes_it(world: World, http: httpx.AsyncClient) -> None:
    without = await http.post("/v1/memories", json=upload(3, **WIDE))  # no engine lives, and no trainer has been there
    guard = await http.post("/v1/languages", json={"language": "ko", **WIDE})
    await world.report(world.engines[0])
    await http.post(f"/v1/memories/{without.json()['id']}/cancel")
    await http.post(f"/v1/languages/{guard.json()['id']}/cancel")
    again = await http.post(f"/v1/memories/{without.json()['id']}/retry")
    guard_again = await http.post(f"/v1/languages/{guard.json()['id']}/retry")
    refused = await http.post("/v1/memories", json=upload(6, **WIDE))
    await world.gateway.engines.report(dataclasses.replace(world.engines[1].record(), max_lora_rank=32), 60)
    await world.gateway.fleet.refresh()
    accepted = await http.post("/v1/memories", json=upload(6, **WIDE))

    assert [reply.status_code for reply in (without, guard)] == [202, 202]
    assert [reply.status_code for reply in (again, guard_again, refused)] == [400, 400, 400]
    assert accepted.status_code == 202


@pytest.mark.usefixtures("bases")
async def test_more_documents_are_planned_with_those_that_are_there(world: World, http: httpx.AsyncClient) -> None:
    memory = (await http.post("/v1/memories", json=upload(60, target_recall=0.9, split=False))).json()
    path = f"/v1/memories/{memory['id']}/documents"
    await http.post(path, json={"documents": upload(30, "more.csv", 60)["documents"]})
    grown = await newest(http, memory["id"])
    before = await world.traces()
    refused = await http.post(path, json={"documents": upload(60, "most.csv", 90)["documents"]})
    after = await world.traces()
    replaced = await http.post(path, json={"documents": upload(60, "more.csv", 90)["documents"]})

    assert (grown["plan"]["facts"], grown["plan"]["tokens"], grown["plan"]["target_recall"]) == (90, 900, 0.9)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "too_much")
    assert "150 facts in 1500 tokens" in refused.json()["error"]["message"]
    assert (replaced.status_code, replaced.json()["plan"]["facts"]) == (202, 120)
    assert after == before


@pytest.mark.usefixtures("bases")
async def test_a_rank_that_was_given_holds_for_further_documents(http: httpx.AsyncClient) -> None:
    memory = (await http.post("/v1/memories", json=upload(60, recipe={"rank": 4, "alpha": 8}))).json()
    path = f"/v1/memories/{memory['id']}/documents"
    grown = (await http.post(path, json={"documents": upload(200, "more.csv", 60)["documents"]})).json()

    assert (grown["plan"]["rank"], grown["plan"]["rank_given"], grown["plan"]["facts"]) == (4, True, 260)


@pytest.mark.usefixtures("bases")
async def test_a_retry_with_another_recipe_is_planned_anew_and_one_with_none_is_not(http: httpx.AsyncClient) -> None:
    memory = (await http.post("/v1/memories", json=upload(60, recipe={"rank": 4, "alpha": 8}))).json()
    path = f"/v1/memories/{memory['id']}"
    await http.post(f"{path}/cancel")
    same = (await http.post(f"{path}/retry")).json()
    await http.post(f"{path}/cancel")
    other = (await http.post(f"{path}/retry", json=RETRY)).json()
    await http.post(f"{path}/cancel")
    preset = (await http.post(f"{path}/retry", json={"recipe": {"name": "balanced"}})).json()

    assert same["plan"] == memory["plan"]
    assert (other["plan"]["rank"], other["plan"]["epochs"], other["plan"]["calibrated"]) == (4, 15, False)
    assert (preset["plan"]["rank"], preset["plan"]["rank_given"], preset["plan"]["epochs"]) == (16, False, 40)
