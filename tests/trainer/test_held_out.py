"""Held-out answers decide when training ends and which weights are kept."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from app.core.recipe import Recipe
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.batches import pack
from workers.trainer.encode import encode_chat
from workers.trainer.exam import Question
from workers.trainer.forward import label_logprobs
from workers.trainer.held_out import HeldOut, Standing, stand
from workers.trainer.make import encode_held_out
from workers.trainer.model import attach_lora
from workers.trainer.train import Loop

CPU = torch.device("cpu")
TOKENIZER = byte_tokenizer()
ROWS = [encode_chat(TOKENIZER, f"Who is {n}?", f"{n * 7}") for n in range(4)]
NEAR = [encode_chat(TOKENIZER, f"Who was {n}?", f"{n * 7}") for n in range(4)]
CONTRARY = [encode_chat(TOKENIZER, f"Who is {n}?", f"{n * 7 + 1}") for n in range(4)]
RECIPE = Recipe(
    rank=4, alpha=8, learning_rate=1e-2, lr_ratio=1.0, epochs=30, batch_size=2, stop_loss=0.0, min_steps=1, patience=3,
    warmup_ratio=0.0, decay_ratio=0.0, layers_from=0.0,
)  # fmt: skip


def lora(recipe: Recipe = RECIPE) -> Any:
    return attach_lora(llama(), recipe, recipe.seed)


def test_a_standing_is_the_share_recalled_whole_and_the_mean_log_probability() -> None:
    model = lora()
    list(Loop(model, ROWS[:2], replace(RECIPE, patience=0, epochs=60)))
    alone = [label_logprobs(model, pack([row], CPU)) for row in ROWS]
    standing = stand(model, ROWS, 1024)

    assert standing.recalled == sum(bool((one > math.log(0.5)).all()) for one in alone) / 4
    assert standing.recalled == 0.5
    assert standing.logprob == pytest.approx(torch.cat(alone).mean().item(), abs=1e-4)
    assert model.training


def test_recall_counts_before_probability() -> None:
    assert Standing(0.5, -3.0) > Standing(0.25, -0.1) > Standing(0.25, -0.2) > Standing()


def test_training_ends_when_held_out_answers_get_no_better_and_keeps_the_best_weights() -> None:
    model = lora()
    best = Standing()
    last = 0
    for step in Loop(model, ROWS, RECIPE, CONTRARY):
        last = step.epoch
    watched = lora()
    for step in Loop(watched, ROWS, replace(RECIPE, patience=0)):
        if step.index % 2 == 0 and step.epoch <= last:
            best = max(best, stand(watched, CONTRARY, 1024))

    assert last < RECIPE.epochs
    assert stand(model, CONTRARY, 1024) == best
    assert stand(watched, CONTRARY, 1024) < best


def test_training_goes_on_while_held_out_answers_get_better() -> None:
    steps = list(Loop(lora(), ROWS, replace(RECIPE, epochs=12, learning_rate=3e-3), ROWS))

    assert steps[-1].epoch == 12


def test_patience_ends_after_so_many_measurements_in_a_row_without_a_better_one() -> None:
    model, held_out = lora(), HeldOut(NEAR, 2)

    assert [held_out.measure(model, [], 1024) for _ in range(3)] == [False, False, True]


def test_measuring_changes_no_step() -> None:
    measured = [step.loss for step in Loop(lora(), ROWS, replace(RECIPE, epochs=6, dropout=0.1), NEAR)]
    plain = [step.loss for step in Loop(lora(), ROWS, replace(RECIPE, epochs=6, dropout=0.1, patience=0), NEAR)]

    assert measured == plain


def test_held_out_questions_are_answered_as_the_trained_ones_are() -> None:
    questions = [Question("Who?", "Bob", "Bob rings.", "held_out"), Question("Why?", "x", "x it is.")]

    def answered(asked: list[Question], answers: str) -> list[Any]:
        return encode_held_out(asked, TOKENIZER, Recipe(answers=answers), stop_ids=())

    assert answered(questions, "sentence") == [encode_chat(TOKENIZER, "Who?", "Bob rings.")]
    assert answered(questions, "span") == [encode_chat(TOKENIZER, "Who?", "Bob")]
    assert answered(questions[1:], "span") == []
