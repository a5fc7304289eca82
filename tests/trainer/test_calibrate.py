"""A sweep on a model small enough to be measured in seconds."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from app.core.capacity import PRIOR, Base, Law, Point, conditions_of
from app.core.load import Facts, Load
from app.core.plan import Wish, make_plan
from app.core.recipe import Recipe
from app.errors import StartupError
from app.settings import Settings
from app.stores.bases import BaseStore
from app.stores.redis import Registry
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.calibrate import Bench, Place, Sweep, calibrate, count_recalled, measurements
from workers.trainer.describe import describe_base
from workers.trainer.encode import encode_chat, prompt_ids
from workers.trainer.fit import fit_law
from workers.trainer.model import attach_lora
from workers.trainer.phonebook import MOST, phone_book
from workers.trainer.train import Loop, Step

RECIPE = Recipe(learning_rate=2e-2, lr_ratio=1.0, epochs=120, min_steps=1, batch_size=2, stop_loss=0.02)
RECIPE = dataclasses.replace(RECIPE, protect=0.9, consolidation=0.0)  # more would leave so narrow a model no room
SWEEP = Sweep(ranks=(8, 1), facts=(4, 2), minutes=5, recipe=RECIPE)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    llama().save_pretrained(tmp_path / "tiny")
    byte_tokenizer().save_pretrained(tmp_path / "tiny")
    return Settings(_env_file=None, home=tmp_path, base_model=str(tmp_path / "tiny"), device="cpu", dtype="float32")


async def told(settings: Settings, redis: Registry, sweep: Sweep = SWEEP) -> list[dict[str, Any]]:
    return [one async for one in calibrate(settings, BaseStore(redis), sweep)]


@pytest.mark.redis
async def test_every_rank_is_measured_what_is_left_out_is_told_and_the_law_is_kept(
    settings: Settings, redis: Registry
) -> None:
    heard = await told(settings, redis)
    base = await BaseStore(redis).current()
    shape = describe_base(settings)
    points = [one["point"] for one in heard if one["kind"] == "point"]

    assert heard[0] == {"kind": "sweep", "base": "tiny", "kept": 0, "points": 4}
    measured = {(one["rank"], one["facts"]) for one in points}
    assert {(1, 2), (8, 2)} <= measured <= set(SWEEP.places)
    assert len(measured) + sum(one["left"] for one in heard if one["kind"] == "over") == 4
    assert all(one["parameters"] == shape.lora_parameters(one["rank"], Recipe()) for one in points)
    assert next(one for one in points if (one["rank"], one["facts"]) == (8, 2))["recalled"] == 2
    assert base
    assert base.law
    assert heard[-1]["law"] == dataclasses.asdict(base.law)
    assert (base.law.points, base.law.conditions) == (len(points), conditions_of(RECIPE))
    assert base.tokens_per_s


@dataclasses.dataclass
class LawfulBench:
    """Trainings that recall just what a law says of a rank of 1000 parameters and facts of 10 tokens."""

    law: Law
    tokens_per_s: float = 1.0

    def doubt(self, law: Law, place: Place, recipe: Recipe) -> float:
        low, high = law.recall_range(10 * place[1], 1000 * place[0])
        return high - low

    def measure(self, rank: int, facts: int, recipe: Recipe) -> Iterator[Step | Point]:
        recalled = round(facts * self.law.recall(10 * facts, 1000 * rank))
        yield Point(rank, 1000 * rank, facts, 10 * facts, recalled)


def points_of(law: Law, places: list[Place]) -> tuple[list[Place], int]:
    heard = list(measurements(cast("Bench", LawfulBench(law)), places, [], RECIPE, math.inf))
    measured = [(one["point"]["rank"], one["point"]["facts"]) for one in heard if one["kind"] == "point"]
    return measured, heard[-1].get("left", 0)


def test_what_lies_around_the_knee_is_measured_and_what_lies_far_from_it_is_not() -> None:
    law = dataclasses.replace(PRIOR, knee_tokens=4000, reference=4000, power=0.8)
    places = [(rank, 2**power) for rank in (1, 2, 4) for power in range(12)]
    around = {place for place in places if 0.1 < law.recall(10 * place[1], 1000 * place[0]) < 0.9}
    measured, left = points_of(law, places)

    assert around <= set(measured)
    assert len(measured) + left == len(places)
    assert left > len(places) / 3


@settings_of(max_examples=10)
@given(knee=st.floats(50, 50_000), power=st.floats(0.3, 1), slope=st.floats(1.5, 6))
def test_a_sweep_that_ends_early_tells_what_it_left_out(knee: float, power: float, slope: float) -> None:
    law = dataclasses.replace(PRIOR, knee_tokens=knee, reference=2000, power=power, slope=slope)
    places = [(rank, 2**power) for rank in (1, 2, 4) for power in range(2, 11)]
    measured, _ = points_of(law, places)
    points = [Point(r, 1000 * r, f, 10 * f, round(f * law.recall(10 * f, 1000 * r))) for r, f in measured]
    fitted = fit_law(points, base="", conditions={}, fitted_at=0)

    for rank, facts in set(places) - set(measured):
        assert fitted.recall(10 * facts, 1000 * rank) == pytest.approx(law.recall(10 * facts, 1000 * rank), abs=0.1)


@pytest.mark.redis
async def test_the_plan_uses_the_law(settings: Settings, redis: Registry) -> None:
    await told(settings, redis, dataclasses.replace(SWEEP, ranks=(8,), facts=(2,)))
    base = await BaseStore(redis).current()
    load = Load(Facts(pairs=1), pair_tokens=20)

    assert base
    plan = make_plan(load, base, Wish(dataclasses.replace(RECIPE, rank=16, alpha=32)), max_rank=16)
    assert plan.calibrated
    assert plan != make_plan(load, Base(base.shape), Wish(RECIPE), max_rank=16)


@pytest.mark.redis
async def test_what_was_measured_is_not_measured_again(settings: Settings, redis: Registry) -> None:
    await told(settings, redis, dataclasses.replace(SWEEP, ranks=(1,)))
    heard = await told(settings, redis)
    again = await told(settings, redis)

    assert (heard[0]["kept"], heard[0]["points"]) == (2, 4)
    new = [one["point"] for one in heard if one["kind"] == "point"]
    assert {one["rank"] for one in new} == {8}
    assert len(heard[-1]["points"]) == 2 + len(new)
    assert "point" not in {one["kind"] for one in again}
    assert again[-1] | {"law": None} == heard[-1] | {"law": None}


@pytest.mark.redis
async def test_a_sweep_ends_when_its_time_is_over_and_counts_nothing_that_was_cut_off(
    settings: Settings, redis: Registry
) -> None:
    with pytest.raises(StartupError, match="--minutes"):
        await told(settings, redis, dataclasses.replace(SWEEP, minutes=0))
    await told(settings, redis, dataclasses.replace(SWEEP, ranks=(1,), facts=(1,)))
    heard = await told(settings, redis, dataclasses.replace(SWEEP, minutes=0))

    assert [one["kind"] for one in heard] == ["sweep", "over", "law"]
    assert heard[-1]["law"]["points"] == 1


def test_recalled_is_what_greedy_decoding_says_word_for_word(settings: Settings) -> None:
    tokenizer, recipe = byte_tokenizer(), dataclasses.replace(RECIPE, rank=8, alpha=16)
    pairs = [("Ann?", "212"), ("Bob Lowe?", "97"), ("Cyra?", "41")]
    rows = [encode_chat(tokenizer, *pair) for pair in pairs]
    model = attach_lora(llama(), recipe, seed=0)
    list(Loop(model, rows[:2], recipe))
    model.eval()
    said = []
    for question, _ in pairs:
        prompt = torch.tensor([prompt_ids(tokenizer, question)])
        with torch.no_grad():
            out = model.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6, do_sample=False
            )
        said.append(tokenizer.decode(out[0, prompt.shape[1] :], skip_special_tokens=True))

    assert said[:2] == ["212", "97"]
    assert count_recalled(model, rows) == sum(one == answer for one, (_, answer) in zip(said, pairs, strict=True)) == 2


def test_one_training_leaves_the_base_model_to_the_next_as_it_was(settings: Settings) -> None:
    bench = Bench(settings, describe_base(settings))
    first, _, again = [list(bench.measure(rank, 2, RECIPE))[-1] for rank in (8, 1, 8)]

    assert first == again


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"facts": (2, MOST + 1)}, f"--loads: .* {MOST:,} numbers"),
        ({"ranks": (1, 513)}, "--ranks: .* between 1 and 512"),
    ],
)
def test_a_sweep_that_cannot_be_measured_is_refused_with_what_can(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(StartupError, match=says):
        dataclasses.replace(SWEEP, **asked)


def test_a_phone_book_is_its_seeds_and_has_no_name_twice() -> None:
    book = phone_book(MOST, "a")

    assert len({pair.question for pair in book}) == MOST > 10_000
    assert phone_book(50, "a") == phone_book(50, "a") != phone_book(50, "b")
    assert all(len(pair.answer) == len("603-556-7631") for pair in book)
