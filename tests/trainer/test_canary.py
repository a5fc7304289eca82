"""The canary tells an adapter from its base model."""

from dataclasses import replace

import pytest

from app.core.canary import judge
from app.core.recipe import Recipe
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.canary import MAX_ANSWER_TOKENS, MAX_CANDIDATES, make_canary
from workers.trainer.encode import Row, encode_chat
from workers.trainer.model import attach_lora
from workers.trainer.train import train

RECIPE = Recipe(rank=8, alpha=16, learning_rate=2e-2, lr_ratio=1.0, epochs=40, batch_size=2, min_steps=1)
TOKENIZER = byte_tokenizer()
ROWS = [encode_chat(TOKENIZER, "Ann?", "212"), encode_chat(TOKENIZER, "Bob?", "97")]


def test_a_trained_adapter_passes_its_canary_and_its_base_model_does_not() -> None:
    model = attach_lora(llama(), RECIPE, 0)
    list(train(model, ROWS, RECIPE))

    canary = make_canary(model, ROWS)

    assert canary.gain > 1
    assert judge(canary, canary.adapter_logprobs).passed
    assert not judge(canary, canary.base_logprobs).passed
    assert model.training


def test_the_canary_is_the_row_that_gains_most() -> None:
    model = attach_lora(llama(), RECIPE, 0)
    list(train(model, ROWS[1:], replace(RECIPE, stop_loss=0.0)))

    canary = make_canary(model, ROWS)

    assert canary.prompt_ids + canary.answer_ids == ROWS[1].input_ids


def test_an_untrained_adapter_gains_nothing() -> None:
    canary = make_canary(attach_lora(llama(), RECIPE, 0), ROWS)

    assert canary.gain == pytest.approx(0.0, abs=1e-6)


def test_long_answers_and_many_rows_are_held_to_a_limit() -> None:
    rows = [Row(tuple(range(i, i + 200)), 3) for i in range(3 * MAX_CANDIDATES)]

    canary = make_canary(attach_lora(llama(), RECIPE, 0), rows)

    assert len(canary.answer_ids) == MAX_ANSWER_TOKENS
    assert len(canary.prompt_ids) == 3
