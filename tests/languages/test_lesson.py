"""What a guard is trained and examined on."""

import pytest

from app.core.guard_recipe import GuardRecipe
from app.errors import EmptyDocument
from tests.trainer.tiny import byte_tokenizer
from workers.languages.lesson import LEAST_PROMPTS, make_lesson

PROMPTS = [
    f"Was ist ein Baum, und wozu dient {one}?" for one in ("der Stamm", "das Blatt", "die Rinde", "der Ast", "er")
]


def test_a_prompt_that_repeats_is_asked_once_and_never_both_trained_and_held_out() -> None:
    tokenizer = byte_tokenizer()
    lesson = make_lesson(GuardRecipe("de"), PROMPTS * 3, tokenizer, [tokenizer.eos_token_id], longest=1024)

    assert [prompt.text for prompt in lesson.prompts] == PROMPTS[:-1]
    assert [prompt.text for prompt in lesson.paper.held_out] == PROMPTS[-1:]


def test_one_prompt_many_times_is_one() -> None:
    with pytest.raises(EmptyDocument, match="Only 1 of the prompts"):
        make_lesson(GuardRecipe("de"), PROMPTS[:1] * LEAST_PROMPTS, byte_tokenizer(), [], longest=1024)


def test_a_prompt_that_leaves_an_engine_no_room_is_neither_trained_nor_held_out() -> None:
    long = "Was ist ein Baum, und wozu dient er? " * 40
    lesson = make_lesson(GuardRecipe("de"), [*PROMPTS[:4], long, *PROMPTS[4:]], byte_tokenizer(), [], longest=1024)

    assert [prompt.text for prompt in (*lesson.prompts, *lesson.paper.held_out)] == PROMPTS
    with pytest.raises(EmptyDocument, match="have more than 1024 tokens"):
        make_lesson(GuardRecipe("de"), [*PROMPTS[:4], long], byte_tokenizer(), [], longest=1024)
