"""What the factors say of a change, beside what the change does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app.core.recipe import Recipe
from tests.trainer.tiny import byte_tokenizer, llama
from workers.trainer.batches import pack
from workers.trainer.curvature import Curvature, Moment, curvature
from workers.trainer.encode import Row, encode_chat
from workers.trainer.forward import label_logits
from workers.trainer.model import attach_lora, lora_layers
from workers.trainer.moments import main_directions
from workers.trainer.restraint import Held, Restraint, restraint
from workers.trainer.train import Loop

RECIPE = Recipe(rank=4, alpha=8, learning_rate=1e-2, lr_ratio=1.0, epochs=12, batch_size=2, stop_loss=0.0, min_steps=1)
RECIPE = replace(RECIPE, layers_from=0.0)
TOKENIZER, BASE = byte_tokenizer(), "b" * 64
GENERAL = [encode_chat(TOKENIZER, f"What is {n} times {n}?", f"It is {n * n}, I think.") for n in range(24)]
ROWS = [encode_chat(TOKENIZER, f"Who is {n}?", f"{n * 7}") for n in range(6)]


def lora(recipe: Recipe = RECIPE) -> Any:
    return attach_lora(llama(), recipe, recipe.seed)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Curvature:
    return curvature(lora(), GENERAL, tmp_path_factory.mktemp("curvature"), BASE)


def moved(model: Any, rows: list[Row]) -> float:
    """Return how far, in nats a label, the LoRA moves what is said of rows."""
    batch = pack(rows, model.device)
    with torch.no_grad():
        now = label_logits(model, batch)[0].double().log_softmax(-1)
        with model.disable_adapter():
            was = label_logits(model, batch)[0].double().log_softmax(-1)
    return float((was.exp() * (was - now)).sum(-1).mean())


def predicted(layer: Any, inputs: Moment, outputs: Moment) -> torch.Tensor:
    a, b = layer.lora_A["default"].weight.float(), layer.lora_B["default"].weight.float()
    scale = float(layer.scaling["default"])
    inputs, outputs = (Moment(one.directions.float(), one.values, one.rest) for one in (inputs, outputs))
    form: torch.Tensor = (outputs.after(b.T) @ b) * (inputs.after(a) @ a.T)
    return scale**2 / 2 * form.sum()


def test_a_moment_multiplies_as_its_directions_and_the_rest_do() -> None:
    torch.manual_seed(1)
    whole = torch.randn(64, 8)
    values, directions = main_directions(whole.T @ whole, 3)
    moment = Moment(directions, values, torch.tensor(0.5))
    across = torch.eye(8) - directions @ directions.T

    torch.testing.assert_close(moment.after(torch.eye(8)), directions * values @ directions.T + 0.5 * across)


def test_moments_are_laid_in_stacks_one_for_each_layer() -> None:
    torch.manual_seed(1)
    values, directions = torch.rand(2, 3), torch.linalg.qr(torch.randn(2, 8, 3)).Q
    rest, rows = torch.tensor([0.5, 2.0]), torch.randn(2, 4, 8)
    together = Moment(directions, values, rest).after(rows)

    for number, one in enumerate(together):
        alone = Moment(directions[number], values[number], rest[number]).after(rows[number])
        torch.testing.assert_close(one, alone)


@pytest.mark.parametrize("number", range(6))
def test_the_divergence_of_a_small_change_is_about_as_predicted(found: Curvature, number: int) -> None:
    """Within a factor of two: of a layer's inputs and derivatives, K-FAC takes one not to depend on the other."""
    model = lora()
    name, layer = list(lora_layers(model))[number]
    torch.manual_seed(number)
    torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.02)
    says, does = predicted(layer, *found[name]).item(), moved(model, GENERAL)

    assert 0.5 < says / does < 2


def test_the_gradient_that_is_added_is_that_of_what_is_predicted(found: Curvature) -> None:
    model = lora()
    for _, layer in lora_layers(model):
        torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.02)
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    total = torch.stack([predicted(layer, *found[name]) for name, layer in lora_layers(model)]).sum()
    expected = torch.autograd.grad(3.0 * total, list(named.values()))
    for weight in named.values():
        weight.grad = torch.ones_like(weight)
    scales = {name: layer.scaling["default"] for name, layer in lora_layers(model)}
    held_back = Restraint({}, found, {name: 3.0 * scale**2 for name, scale in scales.items()})
    Held(named, held_back, torch.float32).add_gradients()

    for weight, gradient in zip(named.values(), expected, strict=True):
        torch.testing.assert_close(weight.grad, 1 + gradient, rtol=1e-3, atol=1e-6)


def held_back(model: Any, consolidation: float, home: Path) -> Restraint:
    return restraint(model, GENERAL, replace(RECIPE, protect=0.0, consolidation=consolidation), home, BASE)


def test_general_answers_move_less_and_the_rows_are_learned_all_the_same(tmp_path: Path) -> None:
    ends, moves = [], []
    for consolidation in (0.0, 30.0):
        model = lora()
        ends.append(list(Loop(model, ROWS, RECIPE, restraint=held_back(model, consolidation, tmp_path)))[-1].loss)
        moves.append(moved(model, GENERAL))

    assert moves[1] < 0.5 * moves[0]
    assert ends[1] < 0.5 * next(iter(Loop(lora(), ROWS, RECIPE))).loss


def test_a_resumed_loop_ends_with_the_same_weights(tmp_path: Path) -> None:
    undisturbed, first, second = lora(), lora(), lora()
    list(Loop(undisturbed, ROWS, RECIPE, restraint=held_back(undisturbed, 30.0, tmp_path)))
    begun = Loop(first, ROWS, RECIPE, restraint=held_back(first, 30.0, tmp_path))
    for _, _ in zip(range(4), begun, strict=False):
        pass
    resumed = Loop(second, ROWS, RECIPE, restraint=held_back(second, 30.0, tmp_path))
    resumed.resume(begun.state())
    list(resumed)

    for one, other in zip(undisturbed.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_prompts_without_an_answer_say_nothing(tmp_path: Path) -> None:
    prompts = [Row(row.input_ids[: row.answer_start + 1], row.answer_start) for row in GENERAL]

    recipe = replace(RECIPE, protect=0.0, consolidation=1.0)

    assert not restraint(lora(), prompts, recipe, tmp_path, BASE).curvature


def test_looking_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = lora()
    before = [(name, weight.clone(), weight.requires_grad) for name, weight in model.named_parameters()]
    curvature(model, GENERAL, tmp_path, BASE)

    assert model.training
    for (name, was, could), (now_name, now) in zip(before, model.named_parameters(), strict=True):
        assert (name, could) == (now_name, now.requires_grad)
        assert now.grad is None
        assert torch.equal(was, now)


def _unread(_done: int, _total: int) -> None:
    raise AssertionError("what is kept is not read again")


def test_it_is_found_once_and_more_layers_are_added_to_those_that_are_kept(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    mlp = curvature(lora(), GENERAL, tmp_path, BASE, on_read=lambda *far: told.append(far))
    again = curvature(lora(), GENERAL, tmp_path, BASE, on_read=_unread)
    every = curvature(lora(replace(RECIPE, target="all-linear")), GENERAL, tmp_path, BASE)

    assert told[-1] == (len(GENERAL), len(GENERAL))
    assert mlp.keys() == again.keys() < every.keys()
    for name, (inputs, outputs) in mlp.items():
        for one, other in zip((*inputs, *outputs), (*again[name].inputs, *again[name].outputs), strict=True):
            assert torch.equal(one, other)
