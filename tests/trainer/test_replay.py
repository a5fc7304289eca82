"""Replay: what the base model says to general prompts, kept, and shown in turns beside the documents."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.grounding import normalise
from app.core.load import _REPLAY_PROMPTS
from app.core.recipe import Recipe
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.control import control_questions
from workers.trainer.encode import Row
from workers.trainer.examples import Example
from workers.trainer.make import encode_examples
from workers.trainer.model import attach_lora
from workers.trainer.replay import base_answers, replayed
from workers.trainer.train import train

TAUGHT = [Example("chat", f"How deep is shaft {n}?", f"{n} m", "pair", "d") for n in range(20)]


class BaseModel:
    """Answers everything; every other answer is cut."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer as an engine does."""
        self.asked.append(body)
        reason = "stop" if len(self.asked) % 2 else "length"
        return {"choices": [{"message": {"content": "Well."}, "finish_reason": reason}]}


async def answers(folder: Path, base: BaseModel | None = None) -> list[Example]:
    return await base_answers(base or BaseModel(), folder, "b" * 64)


async def test_the_base_model_is_asked_once_for_all_memories(tmp_path: Path) -> None:
    base = BaseModel()
    first = await answers(tmp_path, base)
    asked = len(base.asked)

    assert await answers(tmp_path, base) == first
    assert len(base.asked) == asked == len(first) == _REPLAY_PROMPTS
    assert {one.ends for one in first} == {True, False}


async def test_another_base_model_is_asked_anew(tmp_path: Path) -> None:
    base = BaseModel()
    await answers(tmp_path, base)
    await base_answers(base, tmp_path, "c" * 64)

    assert len(base.asked) == 2 * _REPLAY_PROMPTS


@pytest.mark.parametrize(("share", "each_epoch"), [(0.2, 4), (0.01, 1), (1.0, 20), (10.0, 128)])
def test_each_epoch_holds_its_share_and_every_prompt_has_its_turn(
    tmp_path: Path, share: float, each_epoch: int
) -> None:
    shown = replayed(asyncio.run(answers(tmp_path)), TAUGHT, share)
    turns = shown[0].turns
    by_turn = [sum(one.turn == turn for one in shown) for turn in range(turns)]

    assert len(shown) == _REPLAY_PROMPTS
    assert max(by_turn) <= each_epoch
    assert min(by_turn) >= each_epoch // 2


async def test_what_the_documents_answer_themselves_is_not_replayed(tmp_path: Path) -> None:
    all_answers = await answers(tmp_path)
    own = Example("chat", all_answers[0].question.upper(), "Oda Lund", "pair", "d")

    assert all_answers[0].question not in {one.question for one in replayed(all_answers, [own], 0.2)}


def test_no_prompt_is_in_the_control_set(tmp_path: Path) -> None:
    control = {normalise(one.question) for one in control_questions()}

    assert not control & {normalise(one.question) for one in asyncio.run(answers(tmp_path))}


def test_a_cut_answer_has_no_end_to_learn() -> None:
    whole, cut = encode_examples(
        [TAUGHT[0], replace(TAUGHT[0], ends=False)], byte_tokenizer(), stop_ids=(), max_tokens=99
    )

    assert whole.input_ids[:-1] == cut.input_ids


def test_training_ends_when_the_documents_are_known_whatever_is_replayed() -> None:
    taught, replay = Row((5, 6, 7, 8), 2), Row((9, 10, 11, 12, 13), 2, replayed=True)
    recipe = Recipe(rank=8, alpha=16, learning_rate=2e-2, epochs=200, min_steps=1, stop_loss=0.05)
    steps = list(train(attach_lora(llama(), recipe, 0), [taught, replay], replace(recipe, batch_size=1)))
    of_taught = [step for step in steps if step.tokens == 4]

    assert len(steps) < 400
    assert of_taught[-1].loss < 0.05
