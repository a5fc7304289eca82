"""What the layers below the first LoRA say is computed once, and no step is another for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from app.core.recipe import Recipe
from tests.trainer.test_train import CPU, RECIPE, ROWS, lora, moved
from tests.trainer.tiny import gemma, llama
from workers.trainer import below as kept
from workers.trainer.backward import Graphs, Plain
from workers.trainer.batches import pack
from workers.trainer.below import below_of
from workers.trainer.forward import label_logprobs
from workers.trainer.optimizer import MasterAdamW
from workers.trainer.train import Loop

UPPER = replace(RECIPE, layers_from=0.5)
TURNS = [replace(row, turns=2, turn=number % 2) for number, row in enumerate(ROWS)]
AGAIN = [*TURNS, replace(TURNS[0], turn=1)]  # one is shown in either turn
KINDS = ["sliding_attention", "full_attention"] * 2
BUILDS = [lambda: llama(num_hidden_layers=4), lambda: gemma(num_hidden_layers=4, layer_types=KINDS)]


def build(recipe: Recipe = UPPER, model: Any = None) -> Any:
    return moved(lora(model or BUILDS[0](), recipe))


def calls(model: Any) -> list[int]:
    """Count how often each of the model's layers computes from now on."""
    counts = [0] * 4

    def count(number: int) -> Callable[..., None]:
        def add(*_: Any) -> None:
            counts[number] += 1

        return add

    for number, layer in enumerate(model.get_decoder().layers):
        layer.mlp.register_forward_pre_hook(count(number))
    return counts


@pytest.mark.parametrize("base", BUILDS)
def test_gradients_that_take_up_there_equal_those_through_the_whole_model(base: Callable[[], Any]) -> None:
    model = build(model=base())
    below = below_of(model, ROWS, 1024)
    assert below
    gradients, losses = [], []
    for states in ((), below.of(ROWS)):
        model.zero_grad()
        loss = label_logprobs(model, pack(ROWS, CPU, states))
        loss.sum().backward()
        losses.append(loss.detach())
        gradients.append([weight.grad.clone() for weight in model.parameters() if weight.requires_grad])

    assert torch.allclose(losses[0], losses[1], atol=1e-5)
    assert all(torch.allclose(one, other, rtol=1e-3, atol=1e-4) for one, other in zip(*gradients, strict=True))
    assert any(one.abs().max() > 0.01 for one in gradients[0])


def test_each_row_has_its_own_states_wherever_it_lies_in_a_pack() -> None:
    model = build()
    together, alone = below_of(model, ROWS, 1024), below_of(model, ROWS, 0)
    assert together
    assert alone
    backwards = list(reversed(ROWS))

    for row, one, other in zip(backwards, together.of(backwards), alone.of(backwards), strict=True):
        assert one.shape == (len(row), model.config.hidden_size)
        assert torch.allclose(one, other, atol=1e-5)


def test_a_row_that_is_shown_in_several_turns_is_computed_with_the_first_of_them_alone() -> None:
    below = below_of(build(), AGAIN, 1024)
    assert below
    states = below.of(AGAIN[-1:])[0]
    below.of(AGAIN)

    assert sum(row.input_ids == AGAIN[0].input_ids for group in below.groups for row in group) == 1
    assert below.of(AGAIN[-1:])[0] is states


def test_the_layers_below_compute_a_row_once_however_often_it_is_shown() -> None:
    model = build()
    loop = Loop(model, TURNS, replace(UPPER, epochs=6, stop_loss=0.0))
    counts = calls(model)
    steps = list(loop)

    assert len(steps) == 6
    assert counts == [1, 1, 6, 6]  # the rows of the other turn were computed when the loop was built


def test_training_is_the_same_with_the_states_kept_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(UPPER, epochs=10, stop_loss=0.0)
    losses = []
    for most in (kept.MOST_BYTES, 0):
        monkeypatch.setattr(kept, "MOST_BYTES", most)
        model = build()
        counts = calls(model)
        losses.append([step.loss for step in Loop(model, ROWS, recipe)])
        assert (counts[0] < len(losses[-1])) == (most > 0)

    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_a_training_taken_up_again_goes_on_with_the_same_weights_to_the_last_bit() -> None:
    recipe = replace(UPPER, epochs=8, stop_loss=0.0)
    whole = build(model=BUILDS[0]().bfloat16())
    list(Loop(whole, AGAIN, recipe))
    model = build(model=BUILDS[0]().bfloat16())
    loop = Loop(model, AGAIN, recipe)
    for step in loop:
        if step.index == 5:
            break
    again = build(model=BUILDS[0]().bfloat16())
    rest = Loop(again, AGAIN, recipe)
    rest.resume(loop.state())
    list(rest)

    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_lora_in_the_first_layer_leaves_nothing_to_keep() -> None:
    assert below_of(build(replace(UPPER, layers_from=0.0)), ROWS, 1024) is None


def test_a_model_whose_layers_above_need_more_of_those_below_is_computed_whole() -> None:
    model, seen = build(), []
    layers = model.get_decoder().layers
    layers[0].register_forward_hook(lambda _layer, _given, said: seen.append(said))
    layers[3].register_forward_hook(lambda _layer, _given, said: said + seen[-1].mean(dim=1, keepdim=True))

    assert below_of(model, ROWS, 1024) is None


def test_a_model_whose_layers_say_more_than_states_is_computed_whole() -> None:
    model = build()
    layers = model.get_decoder().layers
    layers[1].register_forward_hook(lambda _layer, _given, said: (said, None))
    layers[2].register_forward_pre_hook(lambda _layer, given: (given[0][0], *given[1:]))

    assert below_of(model, ROWS, 1024) is None


def test_the_layers_are_as_they_were_afterwards() -> None:
    model = build()
    before = label_logprobs(model, pack(ROWS, CPU))
    below = below_of(model, ROWS, 1024)
    assert below
    label_logprobs(model, pack(ROWS, CPU, below.of(ROWS)))

    assert torch.equal(label_logprobs(model, pack(ROWS, CPU)), before)
    assert all("forward" not in vars(layer) for layer in model.get_decoder().layers)


def test_a_recorded_step_takes_up_the_states_of_the_pack_at_hand() -> None:
    gradients, packs = [], (ROWS, ROWS[:-1], list(reversed(ROWS)))
    for recorded in (False, True):
        model = build()
        MasterAdamW(model, weight_decay=0.0, max_norm=1.0)
        below, plain = below_of(model, ROWS, 1024), Plain(model, UPPER)
        assert below
        backward = Graphs(plain, lambda work: work) if recorded else plain
        for rows in packs:
            backward(pack(rows, CPU, below.of(rows)), 7)
        gradients.append([weight.grad.clone() for weight in model.parameters() if weight.requires_grad])

    assert all(torch.allclose(one, other, rtol=1e-3, atol=1e-4) for one, other in zip(*gradients, strict=True))
