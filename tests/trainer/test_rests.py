"""A row that is known rests for one pass; training ends once all are known, with the weights as they are then."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.core.recipe import Recipe
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.encode import Row, encode_chat
from workers.trainer.forward import answer_logprobs
from workers.trainer.held_out import stand
from workers.trainer.model import attach_lora
from workers.trainer.rests import Rests
from workers.trainer.train import PACK_TOKENS, Loop, Step

RECIPE = Recipe(
    rank=8, alpha=16, learning_rate=1e-2, lr_ratio=1.0, epochs=300, batch_size=2, stop_loss=0.0, min_steps=1
)
ROWS = [encode_chat(byte_tokenizer(), f"Who is {n}?", f"{n * 7}") for n in range(6)]
KNOWN, UNKNOWN = 0.01, 3.0  # nats


def knowing(above: float, stop_loss: float = 0.0) -> Recipe:
    return replace(RECIPE, rest_above=above, stop_loss=stop_loss)


def seen(rests: Rests, rows: Sequence[Row], known: Sequence[bool]) -> None:
    """Show rows, each with one answer token or more; the last token tells."""
    nats = [
        torch.tensor([0.0] * (len(row) - row.answer_start - 1) + [KNOWN if one else UNKNOWN])
        for row, one in zip(rows, known, strict=True)
    ]
    rests.note(rows, torch.cat(nats) if nats else torch.empty(0))


def test_a_known_row_rests_for_one_pass_and_is_looked_at_in_the_next() -> None:
    rests = Rests(ROWS[:2], knowing(0.9))
    seen(rests, ROWS[:2], [True, False])
    rests.end_pass()
    second = rests.shown(ROWS[:2])
    seen(rests, second, [False])
    rests.end_pass()

    assert second == [ROWS[1]]
    assert rests.shown(ROWS[:2]) == ROWS[:2]


def test_one_unlikely_token_keeps_a_row_awake() -> None:
    rests = Rests(ROWS[5:], knowing(0.9))
    answer = len(ROWS[5]) - ROWS[5].answer_start
    rests.note(ROWS[5:], torch.tensor([0.2, *[0.0] * (answer - 1)]))  # e^-0.2 is 0.82
    rests.end_pass()

    assert answer > 1
    assert rests.shown(ROWS[5:]) == ROWS[5:]


def test_a_row_forgotten_while_it_rested_keeps_training_from_ending() -> None:
    rests = Rests(ROWS[:2], knowing(0.9))
    seen(rests, ROWS[:2], [True, True])
    was_known = rests.are_learned()
    rests.end_pass()
    seen(rests, ROWS[:1], [False])

    assert was_known
    assert not rests.are_learned()


def test_what_is_replayed_neither_rests_nor_has_to_be_known() -> None:
    rows = [ROWS[0], replace(ROWS[1], replayed=True)]
    rests = Rests(rows, knowing(0.9))
    seen(rests, rows, [True, True])
    rests.end_pass()

    assert rests.shown(rows) == rows[1:]
    assert rests.are_learned()
    assert not Rests(rows[1:], knowing(0.9, stop_loss=1.0)).are_learned(), "nothing is taught"


def test_equal_rows_are_counted_apart() -> None:
    twins = [ROWS[0], replace(ROWS[0])]
    rests = Rests(twins, knowing(0.9))
    seen(rests, twins, [True, False])
    rests.end_pass()

    assert [row is twins[1] for row in rests.shown(twins)] == [True]


def test_of_more_wordings_than_passes_the_one_shown_last_counts() -> None:
    rows = [replace(row, turn=turn, turns=3) for row in ROWS[:2] for turn in range(3)]
    few, enough = Rests(rows, knowing(0.9), passes=2), Rests(rows, knowing(0.9), passes=3)
    for rests in (few, enough):
        seen(rests, rows[::3], [False, False])
        assert not rests.are_learned()
        seen(rests, rows[1::3], [True, True])

    assert few.are_learned()
    assert not enough.are_learned(), "the third is still to come"


def test_all_wordings_looked_at_at_once_have_to_be_known() -> None:
    rows = [replace(ROWS[0], turn=turn, turns=3) for turn in range(3)]
    rests = Rests(rows, knowing(0.9), passes=2)
    seen(rests, rows[:2], [False, True])

    assert not rests.are_learned()


def test_where_prompts_are_learned_as_well_the_answers_alone_have_to_be_known() -> None:
    model, steps = trained(replace(RECIPE, loss_on="all", stop_loss=0.05))

    assert steps[-1].index < steps[-1].steps
    assert stand(model, ROWS, PACK_TOKENS).recalled == 1.0


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), max_size=8), st.sampled_from([0.0, 0.5, 0.9]))
def test_nobody_misses_two_passes_running_and_the_unknown_miss_none(passes: list[list[bool]], above: float) -> None:
    rests = Rests(ROWS, knowing(above))
    missed = [0] * len(ROWS)
    knew = [False] * len(ROWS)
    for known in passes:
        shown = rests.shown(ROWS)
        for place, row in enumerate(ROWS):
            missed[place] = 0 if row in shown else missed[place] + 1
            assert missed[place] <= (1 if knew[place] and above else 0)
            if row in shown:
                knew[place] = known[place]
        seen(rests, shown, [known[ROWS.index(row)] for row in shown])
        rests.end_pass()


def trained(recipe: Recipe, rows: Sequence[Row] = ROWS) -> tuple[Any, list[Step]]:
    model = attach_lora(llama(), recipe, recipe.seed)
    return model, list(Loop(model, rows, recipe))


@pytest.mark.parametrize(("rest_above", "stop_loss"), [(0.0, 0.05), (0.5, 0.0), (0.9, 0.05), (0.9, 0.3), (0.97, 0.0)])
def test_however_training_ends_early_all_is_recalled_then(rest_above: float, stop_loss: float) -> None:
    model, steps = trained(replace(RECIPE, rest_above=rest_above, stop_loss=stop_loss))

    assert steps[-1].index < steps[-1].steps
    assert stand(model, ROWS, PACK_TOKENS).recalled == 1.0


def test_training_with_fewer_passes_than_wordings_cools_and_ends_early_too() -> None:
    rows = [replace(row, turn=turn, turns=151) for row in ROWS[:2] for turn in range(151)]
    going = replace(RECIPE, epochs=150, stop_loss=0.05, warmup_ratio=0.0, decay_ratio=0.0)
    _, steps = trained(going, rows)

    assert steps[-1].index < steps[-1].steps
    assert steps[-1].lr < steps[0].lr


@pytest.mark.parametrize(("nats", "stop_loss", "is_enough"), [(0.6, 0.3, True), (0.6, 0.05, False), (0.8, 10.0, False)])
@pytest.mark.parametrize("above", [0.0, 0.9])
def test_a_small_mean_loss_is_enough_if_every_token_is_recalled(
    above: float, nats: float, stop_loss: float, is_enough: bool
) -> None:
    rests = Rests(ROWS[:2], knowing(above, stop_loss))
    seen(rests, ROWS[:2], [True, True])
    rests.note(ROWS[:1], torch.tensor([nats, *[0.0] * (len(ROWS[0]) - ROWS[0].answer_start - 1)]))

    assert rests.are_learned() == is_enough


def test_rows_not_shown_yet_are_not_learned() -> None:
    rests = Rests(ROWS[:2], knowing(0.9, stop_loss=10.0))
    seen(rests, ROWS[:1], [True])

    assert not rests.are_learned()


@pytest.mark.parametrize("rest_above", [0.0, 0.9])
def test_training_ends_when_nothing_has_a_gradient_any_more(rest_above: float) -> None:
    model, steps = trained(replace(RECIPE, focus_below=0.5, rest_above=rest_above))

    assert steps[-1].index < steps[-1].steps
    assert stand(model, ROWS, PACK_TOKENS).recalled == 1.0


def test_the_learning_rate_goes_by_the_passes_not_by_how_many_rows_they_show() -> None:
    going = replace(RECIPE, epochs=60, stop_loss=0.0, decay_ratio=1.0, warmup_ratio=0.0, cool_below=0.0)
    _, steps = trained(replace(going, rest_above=0.5))
    _, full = trained(replace(going, rest_above=0.0))

    def at_the_end_of_each_epoch(found: list[Step]) -> dict[int, float]:
        return {step.epoch: step.lr for step in found}

    wanted = at_the_end_of_each_epoch(full)
    assert len(steps) < steps[-1].epoch * 3, "some have rested"
    assert at_the_end_of_each_epoch(steps).items() <= wanted.items()


def test_a_pass_in_which_all_rest_whose_turn_it_is_shows_nothing() -> None:
    scored = answer_logprobs(attach_lora(llama(), RECIPE, RECIPE.seed), ROWS, PACK_TOKENS)
    (unlikely, least), *_, (likely, most) = [(row, one.min().item()) for row, one in sorted(scored, key=_least_likely)]
    rows = [replace(row, turn=turn, turns=3) for turn, row in enumerate([likely, likely, unlikely])]
    recipe = replace(RECIPE, learning_rate=1e-7, epochs=7, rest_above=math.exp((least + most) / 2))

    assert [step.epoch for step in trained(recipe, rows)[1]] == [1, 2, 3, 6, 7]


def _least_likely(scored: tuple[Row, torch.Tensor]) -> float:
    return scored[1].min().item()


def test_a_learning_that_never_rests_shows_every_row_in_every_pass() -> None:
    _, steps = trained(replace(RECIPE, epochs=20, rest_above=0.0))

    assert sum(step.tokens for step in steps) == 20 * sum(map(len, ROWS))
