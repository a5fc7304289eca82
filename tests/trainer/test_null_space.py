"""A LoRA that does not read what general inputs have in common leaves them alone, and learns all the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app.core.recipe import Recipe
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.batches import pack
from workers.trainer.encode import Row, encode_chat
from workers.trainer.forward import label_logits
from workers.trainer.model import attach_lora
from workers.trainer.null_space import NullSpace, general_rows, null_space
from workers.trainer.restraint import Restraint
from workers.trainer.train import Loop

RECIPE = Recipe(rank=4, alpha=8, learning_rate=1e-2, lr_ratio=1.0, epochs=12, batch_size=2, stop_loss=0.0, min_steps=1)
TOKENIZER, BASE = byte_tokenizer(), "b" * 64
GENERAL = general_rows(TOKENIZER)
ROWS = [encode_chat(TOKENIZER, f"Who is {n}?", f"{n * 7}") for n in range(6)]


def lora(recipe: Recipe = RECIPE) -> Any:
    return attach_lora(llama(), recipe, recipe.seed)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> NullSpace:
    return null_space(lora(), GENERAL, 0.9, tmp_path_factory.mktemp("space"), BASE)


def read_by(model: Any, space: NullSpace) -> float:
    """Return the greatest share of a row of A that lies in the directions it is kept out of."""
    shares = []
    for name, layer in model.named_modules():
        if name in space:
            a = layer.lora_A["default"].weight.detach()
            shares.append(((a @ space[name]).norm(dim=1) / a.norm(dim=1)).max().item())
    return float(max(shares))


def moved(model: Any, rows: list[Row]) -> float:
    """Return how far, in nats, the LoRA moves what is said of rows."""
    with torch.no_grad():
        now = label_logits(model, pack(rows, model.device))[0].log_softmax(-1)
        with model.disable_adapter():
            was = label_logits(model, pack(rows, model.device))[0].log_softmax(-1)
    return float((was.exp() * (was - now)).sum(-1).mean())


def _unread(_done: int, _total: int) -> None:
    raise AssertionError("what is kept is not read again")


def test_the_directions_are_orthonormal_and_leave_room_for_what_is_learned(space: NullSpace) -> None:
    for directions in space.values():
        width, count = directions.shape
        assert 0 < count < width
        torch.testing.assert_close(directions.T @ directions, torch.eye(count), atol=0.02, rtol=0)


def test_every_step_keeps_the_lora_out_of_the_directions(space: NullSpace) -> None:
    model = lora()
    before = read_by(model, space)
    for _ in Loop(model, ROWS, RECIPE, restraint=Restraint(space)):
        assert read_by(model, space) < 0.02
    assert before > 0.3


def test_general_inputs_are_moved_less_and_the_rows_are_learned_all_the_same(space: NullSpace) -> None:
    free, kept_out = lora(), lora()
    general = GENERAL[:24]
    held = (free, Restraint()), (kept_out, Restraint(space))
    losses = [list(Loop(model, ROWS, RECIPE, restraint=of))[-1].loss for model, of in held]

    assert moved(kept_out, general) < 0.5 * moved(free, general)
    assert losses[1] < 0.5 * next(iter(Loop(lora(), ROWS, RECIPE))).loss


@pytest.mark.parametrize("cut", [1, 4])
def test_a_resumed_loop_ends_with_the_same_weights(space: NullSpace, cut: int) -> None:
    undisturbed, first, second = lora(), lora(), lora()
    list(Loop(undisturbed, ROWS, RECIPE, restraint=Restraint(space)))
    begun = Loop(first, ROWS, RECIPE, restraint=Restraint(space))
    for _, _ in zip(range(cut), begun, strict=False):
        pass
    resumed = Loop(second, ROWS, RECIPE, restraint=Restraint(space))
    resumed.resume(begun.state())
    list(resumed)

    for one, other in zip(undisturbed.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_how_far_the_reading_is_is_told_and_nothing_where_nothing_is_read(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    for _ in range(2):
        null_space(lora(), GENERAL, 0.9, tmp_path, BASE, on_read=lambda *far: told.append(far))
    done, totals = zip(*told, strict=True)

    assert list(done) == sorted(set(done))  # once
    assert {done[-1]} == set(totals) == {len(GENERAL)}


def test_other_rows_are_read_anew(tmp_path: Path) -> None:
    answered = [replace(row, input_ids=(*row.input_ids, 7)) for row in GENERAL]
    first, other = (null_space(lora(), rows, 0.9, tmp_path, BASE) for rows in (GENERAL, answered))

    assert any(first[name].shape != other[name].shape or not torch.equal(first[name], other[name]) for name in first)


def test_they_are_found_once_and_more_layers_are_added_to_those_that_are_kept(tmp_path: Path) -> None:
    mlp = null_space(lora(), GENERAL, 0.9, tmp_path, BASE)
    again = null_space(lora(), GENERAL, 0.9, tmp_path, BASE, on_read=_unread)
    every = null_space(lora(replace(RECIPE, target="all-linear")), GENERAL, 0.9, tmp_path, BASE)

    assert mlp.keys() == again.keys() < every.keys()
    assert all(torch.equal(mlp[name], again[name]) and torch.equal(mlp[name], every[name]) for name in mlp)
