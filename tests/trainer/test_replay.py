"""Replay: what the base model says to general prompts, kept, and shown in turns beside the documents."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.control import control_questions, read_questions
from app.core.grounding import normalise
from app.core.load import _REPLAYS
from app.core.recipe import Recipe
from tests.trainer.reference import divergence
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.batches import pack
from workers.trainer.control import control_texts
from workers.trainer.encode import Row
from workers.trainer.examples import Example
from workers.trainer.forward import label_logits
from workers.trainer.make import encode_examples
from workers.trainer.model import attach_lora
from workers.trainer.replay import general_examples, replayed, shown_at_most
from workers.trainer.teacher import ask_teacher
from workers.trainer.train import Loop

TAUGHT = [Example("chat", f"How deep is shaft {n}?", f"{n} m", "pair", "d") for n in range(20)]


class BaseModel:
    """Answers everything, every other answer cut, and goes on with every text."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def ask_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer as an engine does."""
        self.asked.append(body)
        reason = "stop" if len(self.asked) % 2 else "length"
        return {"choices": [{"message": {"content": "Well."}, "finish_reason": reason}]}

    async def complete_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Go on as an engine does."""
        self.asked.append(body)
        return {"choices": [{"text": f" and so on, {body['max_tokens']}."}]}


class Beside(BaseModel):
    """Says something else, after another trainer has asked for everything and kept it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    async def complete_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Go on as an engine does."""
        if not self.asked:
            self.asked.append(body)
            await general(self._folder)
        return {"choices": [{"text": " and on, slower."}]}

    async def ask_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer as an engine does."""
        return {"choices": [{"message": {"content": "Well, slower."}, "finish_reason": "stop"}]}


async def general(folder: Path, base: BaseModel | None = None) -> list[Example]:
    return await general_examples(base or BaseModel(), folder, "b" * 64)


async def test_the_base_model_is_asked_once_for_all_memories(tmp_path: Path) -> None:
    base = BaseModel()
    first = await general(tmp_path, base)
    asked = len(base.asked)

    assert await general(tmp_path, base) == first
    assert len(base.asked) == asked == len(first) == _REPLAYS
    assert {one.ends for one in first if one.kind == "chat"} == {True, False}


async def test_what_another_trainer_kept_meanwhile_is_what_is_used(tmp_path: Path) -> None:
    first = await general(tmp_path, Beside(tmp_path))

    assert first == await general(tmp_path)
    assert not any("slower" in one.answer for one in first)


async def test_how_many_are_answered_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    async def tell(done: int, total: int) -> None:
        told.append((done, total))

    for most in (5, 8):
        await general_examples(BaseModel(), tmp_path, "b" * 64, most, tell)

    assert told == [(done, 5) for done in range(1, 6)] + [(done, 3) for done in range(1, 4)]


async def test_another_base_model_is_asked_anew(tmp_path: Path) -> None:
    base = BaseModel()
    await general(tmp_path, base)
    await general_examples(base, tmp_path, "c" * 64)

    assert len(base.asked) == 2 * _REPLAYS


async def test_no_more_are_asked_for_than_a_training_can_show_and_more_later_ask_only_for_the_rest(
    tmp_path: Path,
) -> None:
    base, recipe = BaseModel(), Recipe(replay=0.2, epochs=3, min_steps=1)
    most = shown_at_most(TAUGHT, recipe)
    few = await general_examples(base, tmp_path, "b" * 64, most)
    asked = len(base.asked)
    more = await general_examples(base, tmp_path, "b" * 64, most + 5)

    assert most == len(few) == asked == 3 * 4
    assert (len(base.asked), more[:most]) == (asked + 5, few)
    assert shown_at_most(TAUGHT[:8], replace(recipe, min_steps=10)) == 2 * 10


async def test_plain_texts_begin_as_they_were_given_and_are_mixed_with_the_questions(tmp_path: Path) -> None:
    found = await general(tmp_path)
    texts = [place for place, one in enumerate(found) if one.kind == "text"]

    assert len(texts) > 40
    assert texts[0] < len(found) / 4 < 3 * len(found) / 4 < texts[-1]
    assert all(found[place].answer.count(" and so on, ") == 1 for place in texts)


@pytest.mark.parametrize(("share", "each_epoch"), [(0.2, 4), (0.01, 1), (1.0, 20), (100.0, _REPLAYS)])
def test_each_epoch_holds_its_share_and_every_one_has_its_turn(tmp_path: Path, share: float, each_epoch: int) -> None:
    shown = replayed(asyncio.run(general(tmp_path)), TAUGHT, share)
    turns = shown[0].turns
    by_turn = [sum(one.turn == turn for one in shown) for turn in range(turns)]

    assert len(shown) == _REPLAYS
    assert max(by_turn) <= each_epoch
    assert min(by_turn) >= each_epoch // 2


async def test_what_the_documents_answer_themselves_is_not_replayed(tmp_path: Path) -> None:
    everything = await general(tmp_path)
    one = next(one for one in everything if one.kind == "chat")
    own = Example("chat", one.question.upper(), "Oda Lund", "pair", "d")

    assert one.question not in {one.question for one in replayed(everything, [own], 0.2)}
    assert replayed([one], [own], 0.2) == []


def test_no_prompt_is_in_the_control_set_nor_in_the_benchmark_of_forgetting(tmp_path: Path) -> None:
    benchmark = Path(__file__).parents[2] / "benchmarks" / "general.csv"
    control = {normalise(one.question) for one in [*control_questions(), *read_questions(benchmark)]}
    replay = asyncio.run(general(tmp_path))

    assert not control & {normalise(one.question) for one in replay if one.kind == "chat"}
    assert not any(text.startswith(one.answer.split(" and so on")[0]) for text in control_texts() for one in replay)


def test_what_is_replayed_stays_as_likely_as_the_base_model_finds_it() -> None:
    recipe = Recipe(
        rank=8, alpha=16, learning_rate=2e-2, lr_ratio=1.0, epochs=30, min_steps=1, stop_loss=0, batch_size=2
    )
    examples = [Example("chat", "Ann?", "212", "pair", "d"), Example("text", "", "It rained all day.", "replay", "")]

    def risen(*, with_teacher: bool) -> float:
        """Return how far the replayed text has moved from the base model, in nats of Kullback-Leibler divergence."""
        model = attach_lora(llama(), recipe, 0)
        rows = encode_examples(examples, byte_tokenizer(), stop_ids=(), max_tokens=99)
        targets = ask_teacher(model, rows, recipe)
        assert targets[0] is None
        assert targets[1] is not None
        taught = [rows[0], replace(rows[1], target=targets[1] if with_teacher else None)]
        list(Loop(model, taught, recipe))
        logits, _ = label_logits(model, pack([rows[1]], model.device))
        placed = replace(targets[1], at=targets[1].at - rows[1].answer_start)
        return float(divergence(logits.detach(), placed).mean())

    assert risen(with_teacher=True) < risen(with_teacher=False) / 3


def test_a_cut_answer_has_no_end_to_learn() -> None:
    whole, cut = encode_examples(
        [TAUGHT[0], replace(TAUGHT[0], ends=False)], byte_tokenizer(), stop_ids=(), max_tokens=99
    )

    assert whole.input_ids[:-1] == cut.input_ids


def test_training_ends_when_the_documents_are_known_whatever_is_replayed() -> None:
    taught, replay = Row((5, 6, 7, 8), 2), Row((9, 10, 11, 12, 13), 2, replayed=True)
    recipe = Recipe(rank=8, alpha=16, learning_rate=2e-2, lr_ratio=1.0, epochs=200, min_steps=1, stop_loss=0.05)
    steps = list(Loop(attach_lora(llama(), recipe, 0), [taught, replay], replace(recipe, batch_size=1)))
    of_taught = [step for step in steps if step.tokens == 4]

    assert len(steps) < 400
    assert of_taught[-1].loss < 0.05
