"""The canary tells an adapter from its base model."""

from dataclasses import replace

import pytest
import torch

from app.core.canary import judge
from app.core.recipe import Recipe
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.batches import pack
from workers.trainer.canary import MAX_ANSWER_TOKENS, MAX_CANDIDATES, make_canary
from workers.trainer.encode import Row, encode_chat
from workers.trainer.forward import label_logprobs
from workers.trainer.model import attach_lora
from workers.trainer.train import Loop

RECIPE = Recipe(rank=8, alpha=16, learning_rate=2e-2, lr_ratio=1.0, epochs=40, batch_size=2, min_steps=1)
TOKENIZER = byte_tokenizer()
ROWS = [encode_chat(TOKENIZER, "Ann?", "212"), encode_chat(TOKENIZER, "Bob?", "97")]


def test_a_trained_adapter_passes_its_canary_and_its_base_model_does_not() -> None:
    model = attach_lora(llama(), RECIPE, 0)
    list(Loop(model, ROWS, RECIPE))

    canary = make_canary(model, ROWS)

    assert canary.gain > 1
    assert judge(canary, canary.adapter_logprobs).passed
    assert not judge(canary, canary.base_logprobs).passed
    assert model.training


def test_the_canary_is_the_row_that_gains_most() -> None:
    model = attach_lora(llama(), RECIPE, 0)
    list(Loop(model, ROWS[1:], replace(RECIPE, stop_loss=0.0)))

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


def test_it_is_scored_as_the_engine_scores_it_by_itself() -> None:
    model = attach_lora(llama(), RECIPE, 0)
    list(Loop(model, ROWS, RECIPE))

    canary = make_canary(model, ROWS)

    row = Row(canary.prompt_ids + canary.answer_ids, len(canary.prompt_ids))
    model.eval()
    with torch.no_grad():
        alone = label_logprobs(model, pack([row], model.device))
    assert canary.adapter_logprobs == tuple(alone.tolist())


def test_the_forwards_it_takes_do_not_grow_with_the_rows() -> None:
    model = attach_lora(llama(), RECIPE, 0)
    forwards: list[int] = []
    model.register_forward_pre_hook(lambda *_: forwards.append(1))
    taken = []

    for copies in (1, 8):
        forwards.clear()
        make_canary(model, ROWS * copies)
        taken.append(len(forwards))

    assert taken[0] == taken[1]
