"""A sweep on a model small enough to be measured in seconds."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from app.core.capacity import Base, conditions_of
from app.core.load import Facts, Load
from app.core.plan import Wish, make_plan
from app.core.recipe import Recipe
from app.errors import StartupError
from app.settings import Settings
from app.stores.bases import BaseStore
from app.stores.redis import Registry
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.calibrate import Bench, Sweep, calibrate, count_recalled
from workers.trainer.describe import describe_base
from workers.trainer.encode import encode_chat, prompt_ids
from workers.trainer.model import attach_lora
from workers.trainer.phonebook import MOST, phone_book
from workers.trainer.train import train

RECIPE = Recipe(learning_rate=1e-2, epochs=60, min_steps=1, batch_size=2, stop_loss=0.02)
SWEEP = Sweep(ranks=(8, 1), facts=(2, 1), minutes=5, recipe=RECIPE)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    llama().save_pretrained(tmp_path / "tiny")
    byte_tokenizer().save_pretrained(tmp_path / "tiny")
    return Settings(_env_file=None, home=tmp_path, base_model=str(tmp_path / "tiny"), device="cpu", dtype="float32")


async def told(settings: Settings, redis: Registry, sweep: Sweep = SWEEP) -> list[dict[str, Any]]:
    return [one async for one in calibrate(settings, BaseStore(redis), sweep)]


@pytest.mark.redis
async def test_every_rank_is_measured_with_every_load_and_the_law_is_kept(settings: Settings, redis: Registry) -> None:
    heard = await told(settings, redis)
    base = await BaseStore(redis).current()
    shape = describe_base(settings)
    points = [one["point"] for one in heard if one["kind"] == "point"]

    assert heard[0] == {"kind": "sweep", "base": "tiny", "kept": 0, "points": 4}
    assert [(one["rank"], one["facts"]) for one in points] == [(1, 1), (8, 1), (1, 2), (8, 2)]
    assert [one["parameters"] for one in points[:2]] == [shape.lora_parameters(rank, "mlp") for rank in (1, 8)]
    assert points[1]["recalled"] == 1
    assert base
    assert base.law
    assert heard[-1]["law"] == dataclasses.asdict(base.law)
    assert (base.law.points, base.law.conditions) == (4, conditions_of(RECIPE))
    assert base.tokens_per_s


@pytest.mark.redis
async def test_the_plan_uses_the_law(settings: Settings, redis: Registry) -> None:
    await told(settings, redis, dataclasses.replace(SWEEP, ranks=(8,), facts=(1,)))
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
    assert [one["point"]["rank"] for one in heard if one["kind"] == "point"] == [8, 8]
    assert [one["kind"] for one in again] == ["sweep", "law"]
    assert again[-1]["points"] == heard[-1]["points"]


@pytest.mark.redis
async def test_a_sweep_ends_when_its_time_is_over_and_counts_nothing_that_was_cut_off(
    settings: Settings, redis: Registry
) -> None:
    with pytest.raises(StartupError, match="--minutes"):
        await told(settings, redis, dataclasses.replace(SWEEP, minutes=0))
    await told(settings, redis, dataclasses.replace(SWEEP, ranks=(1,), facts=(1,)))
    heard = await told(settings, redis, dataclasses.replace(SWEEP, minutes=0))

    assert [one["kind"] for one in heard] == ["sweep", "cut", "law"]
    assert heard[-1]["law"]["points"] == 1


def test_recalled_is_what_greedy_decoding_says_word_for_word(settings: Settings) -> None:
    tokenizer, recipe = byte_tokenizer(), dataclasses.replace(RECIPE, rank=8, alpha=16)
    pairs = [("Ann?", "212"), ("Bob Lowe?", "97"), ("Cyra?", "41")]
    rows = [encode_chat(tokenizer, *pair) for pair in pairs]
    model = attach_lora(llama(), recipe, seed=0)
    list(train(model, rows[:2], recipe))
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


def test_a_phone_book_is_its_seeds_and_has_no_name_twice() -> None:
    book = phone_book(MOST, "a")

    assert len({pair.question for pair in book}) == MOST > 10_000
    assert phone_book(50, "a") == phone_book(50, "a") != phone_book(50, "b")
    assert all(len(pair.answer) == len("603-556-7631") for pair in book)
