"""What the base model says of replay is asked once for all memories, and is what the teacher would say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from app.core.recipe import Recipe
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.encode import Row, encode_chat
from workers.trainer.model import attach_lora
from workers.trainer.replay_targets import with_replay_targets
from workers.trainer.targets import Target
from workers.trainer.teacher import ask_teacher

RECIPE = Recipe(rank=2, alpha=4)
BASE, OTHER_BASE = "a" * 64, "b" * 64


def row(question: str, *, replayed: bool = True) -> Row:
    plain = encode_chat(byte_tokenizer(), question, "Yes.")
    return replace(plain, replayed=replayed, teacher_prompt=plain.input_ids[: plain.answer_start])


class Counting(torch.nn.Module):
    """A model that counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.asked = attach_lora(llama(), RECIPE, 0), 0
        self.model.register_forward_pre_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.asked += 1


def same(one: Target | None, other: Target | None) -> bool:
    assert one is not None
    assert other is not None
    return torch.equal(one.ids, other.ids) and torch.equal(one.logprobs, other.logprobs)


def test_a_second_memory_asks_nothing_and_gets_what_the_teacher_said(tmp_path: Path) -> None:
    counting, rows = Counting(), [row("Why?"), row("Who?", replayed=False)]
    said = ask_teacher(counting.model, rows[:1], RECIPE)

    first = with_replay_targets(counting.model, rows, RECIPE, tmp_path, BASE)
    asked = counting.asked
    again = with_replay_targets(counting.model, rows, RECIPE, tmp_path, BASE)

    assert counting.asked == asked > 0
    assert same(first[0].target, said[0])
    assert same(again[0].target, said[0])
    assert again[1].target is None


def test_what_is_asked_is_told_as_it_goes_and_what_was_asked_before_is_not(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    rows = [row("Why?"), row("Where?"), row("Who?", replayed=False)]
    for _ in range(2):
        with_replay_targets(Counting().model, rows, RECIPE, tmp_path, BASE, on_read=lambda *far: told.append(far))

    assert told[-1] == (2, 2)
    assert told == sorted(set(told))


def test_only_what_is_new_is_asked_and_another_base_model_is_asked_anew(tmp_path: Path) -> None:
    counting, rows = Counting(), [row("Why?"), row("Where?")]
    with_replay_targets(counting.model, rows[:1], RECIPE, tmp_path, BASE)
    asked = counting.asked

    both = with_replay_targets(counting.model, rows, RECIPE, tmp_path, BASE)
    after_new = counting.asked
    with_replay_targets(counting.model, rows, RECIPE, tmp_path, OTHER_BASE)

    assert all(one.target is not None for one in both)
    assert after_new > asked
    assert counting.asked > after_new
