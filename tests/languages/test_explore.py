"""What an exploration finds, and what it asks of an engine."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.core.guard_recipe import GuardRecipe
from app.engines.client import EngineClient
from app.errors import EngineFailed
from tests.languages.bilingual import BOS, END, Script, ids_of, prompts, tokenizer
from workers.languages.engine_policy import EnginePolicy
from workers.languages.explore import ENOUGH_TO_TELL, SAMPLED_AT_ONCE, Explorer, Found, Group
from workers.languages.points import Ids

RECIPE = GuardRecipe(language="ko", candidates=4, look_ahead=2, answers=100, points=1000, temperature=0.6)
PATIENT = replace(RECIPE, points_per_step=1)  # one point more is always to be hoped for


@dataclass
class Scripted:
    """A policy that always says the same, and goes on after the end as models do; counts what it is asked."""

    answer: str = "나a"
    next: str = "다a1"
    after: dict[str, str] = field(default_factory=lambda: {"다": "라b", "<end>": "ab"})
    asked: list[Ids] = field(default_factory=list)
    ahead: list[Ids] = field(default_factory=list)  # prefixes looked ahead of

    async def answers(self, prompts: Sequence[Ids]) -> list[Ids]:
        """See `Policy`."""
        self.asked += prompts
        return [(*ids_of(self.answer), END)] * len(prompts)

    async def candidates(self, prefixes: Sequence[Ids]) -> list[Ids]:
        """See `Policy`."""
        return [(*ids_of(self.next), END)] * len(prefixes)

    async def greedy(self, prefixes: Sequence[Ids], tokens: int) -> list[Ids]:
        """See `Policy`."""
        self.ahead += prefixes
        last = [tokenizer().decode([ids[-1]]) for ids in prefixes]
        return [ids_of(self.after.get(one, "")) for one in last]


async def found(policy: Scripted, recipe: GuardRecipe = RECIPE, iteration: int = 1) -> Found:
    explorer = Explorer(policy, tokenizer(), Script(), recipe, [END])
    *_, last = [one async for one in explorer.explore(prompts(), iteration)]
    return last


async def test_a_candidate_is_judged_with_what_follows_it_and_the_end_of_text_is_neutral() -> None:
    [group, *_] = (await found(Scripted(next="다라a1"))).groups

    assert group.prefix[-1:] == ids_of("나")
    assert group.rewards == (-1.0, 1.0, -1.0, 0.0, 0.0)  # 다라b, 라, a, 1, end


@pytest.mark.parametrize("goes_on", ["ab", "나다"])
async def test_what_a_model_would_say_after_the_end_is_neither_asked_for_nor_judged(goes_on: str) -> None:
    policy = Scripted(next="다a", after={"<end>": goes_on})
    [group, *_] = (await found(policy)).groups

    assert group.rewards == (1.0, -1.0, 0.0)
    assert not any(prefix[-1] == END for prefix in policy.ahead)


async def test_clean_answers_give_no_point_and_empty_ones_are_counted() -> None:
    clean, empty = await found(Scripted(answer="나다"), PATIENT), await found(Scripted(answer=""), PATIENT)

    assert (clean.confused, clean.groups, clean.rate) == (0, (), 0.0)
    assert (empty.empty, empty.answers, empty.confused) == (100, 100, 0)


async def test_points_whose_candidates_are_all_alike_are_skipped_and_counted() -> None:
    alike = await found(Scripted(next="a"), PATIENT)

    assert (len(alike.groups), alike.skipped, alike.confused) == (0, 100, 100)
    assert alike.tokens == 300


async def test_exploring_ends_when_there_are_points_enough_and_asks_each_prompt_equally() -> None:
    policy, recipe = Scripted(next="다a", after={}), replace(RECIPE, points=5)
    enough, all_of_them = await found(policy, recipe), Scripted()
    await found(all_of_them, PATIENT)

    assert enough.answers == SAMPLED_AT_ONCE == len(policy.asked)
    assert {all_of_them.asked.count(prompt.ids) for prompt in prompts()} == {10}


async def test_exploring_goes_on_until_there_are_points_for_one_step() -> None:
    recipe = replace(RECIPE, points=4, points_per_step=70, answers=200)
    enough = await found(Scripted(next="다a", after={}), recipe)

    assert (enough.answers, enough.can_teach(recipe)) == (2 * SAMPLED_AT_ONCE, True)


@pytest.mark.parametrize(
    ("answer", "iteration", "asked"),
    [("나다", 2, ENOUGH_TO_TELL), ("나a", 2, 640)],  # clean, still confused
)
async def test_exploring_after_a_training_ends_as_soon_as_it_shows_that_little_is_left(
    answer: str, iteration: int, asked: int
) -> None:
    looked = await found(Scripted(answer=answer, after={}), replace(RECIPE, answers=640), iteration)

    assert looked.answers == asked


async def test_exploring_ends_where_a_step_is_not_to_be_hoped_for() -> None:
    recipe = replace(RECIPE, answers=640)
    clean, some = await found(Scripted(answer="나다"), recipe), Found(groups=(Group((), (), ()),) * 2, answers=320)

    assert clean.answers == 320  # none of 256 may still be 1.5 %, and 8 points of 640
    assert not clean.can_teach(recipe)
    assert clean.is_hopeless(recipe)
    assert not some.is_hopeless(recipe)
    assert not Found().is_hopeless(recipe)


class FakeEngine:
    """Completions as vLLM gives them; keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.with_ids = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        body = json.loads(request.content)
        self.bodies.append(body)
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]] * body.get("n", 1)
        scores = {"token_id:7": -2.0, "token_id:5": -0.1, "token_id:9": -9.0, "token_id:6": -3.0, "token_id:8": -4.0}
        choices = [
            {
                "index": i,
                **({"token_ids": [prompt[-1] + 1, END]} if self.with_ids else {}),
                "logprobs": {"top_logprobs": [scores]} if "logprobs" in body else None,
            }
            for i, prompt in enumerate(prompts)
        ]
        return httpx.Response(200, json={"choices": choices[::-1]})


def policy_on(engine: FakeEngine, recipe: GuardRecipe = RECIPE) -> EnginePolicy:
    http = httpx.AsyncClient(transport=httpx.MockTransport(engine))
    return EnginePolicy(EngineClient(http, SecretStr("k")), "http://engine", "base", recipe, ends=[END])


async def test_an_engine_gets_and_gives_token_ids_and_no_seed() -> None:
    engine = FakeEngine()

    said = await policy_on(engine).answers([(BOS, 4), (BOS, 5)])

    assert said == [(5, END), (6, END)]
    first = engine.bodies[0]
    assert (first["temperature"], first["max_tokens"], first["top_k"], first["top_p"]) == (0.6, 100, 0, 1.0)
    assert not {"seed", "prompt_logprobs", "echo"} & set(first)


async def test_candidates_are_the_most_probable_tokens_by_their_ids() -> None:
    engine = FakeEngine()

    assert await policy_on(engine).candidates([(BOS, 4)]) == [(5, 7, 6, 8)]
    assert (engine.bodies[0]["max_tokens"], engine.bodies[0]["logprobs"]) == (1, 4)


async def test_sampled_candidates_are_all_different() -> None:
    engine = FakeEngine()

    assert await policy_on(engine, replace(RECIPE, choose="sampled")).candidates([(BOS, 4)]) == [(5,)]
    assert (engine.bodies[0]["n"], engine.bodies[0]["temperature"]) == (4, 1.0)


async def test_all_candidates_of_a_point_are_looked_ahead_of_in_one_request() -> None:
    engine = FakeEngine()
    paths = [(BOS, one) for one in range(2, 10)]

    assert await policy_on(engine).greedy(paths, 2) == [(one + 1,) for one in range(2, 10)]
    assert [len(body["prompt"]) for body in engine.bodies] == [4, 4]
    assert await policy_on(engine).greedy(paths, 0) == [()] * 8


async def test_an_engine_that_gives_no_token_ids_is_an_error() -> None:
    engine = FakeEngine()
    engine.with_ids = False

    with pytest.raises(EngineFailed, match="token ids"):
        await policy_on(engine).answers([(BOS, 4)])
