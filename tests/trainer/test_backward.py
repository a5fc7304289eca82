"""What is replayed from a recording is what would be computed plainly; the recording itself is tried where CUDA is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from app.core.recipe import Recipe
from tests.trainer.test_losses import RECIPE, ROWS, gradients, lora, with_own_target
from tests.trainer.tiny import gemma, llama
from workers.trainer.backward import Graphs, Plain, Scored, backward_of, padded_size, record_cuda
from workers.trainer.batches import pack
from workers.trainer.encode import Row
from workers.trainer.optimizer import MasterAdamW
from workers.trainer.train import Loop

CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")],
)


def ready(build: Callable[[], Any], device: str) -> Any:
    """Return a model whose gradients lie where they stay."""
    model = lora(build).to(device)
    MasterAdamW(model, weight_decay=0.0, max_norm=1.0)
    return model


def graphs(model: Any, recipe: Recipe) -> Graphs:
    """Record where that is possible; elsewhere the same work is done anew, in the same padded tensors."""
    return Graphs(Plain(model, recipe), record_cuda() if model.device.type == "cuda" else lambda work: work)


def agree(one: Scored, other: Scored) -> bool:
    return torch.allclose(one.nats, other.nats, atol=1e-4) and bool((one.learned == other.learned).all())


def differing(build: Callable[[], Any], device: str, recipe: Recipe, rows: list[Row]) -> list[str]:
    """Name what differs between three packs of one size, the last two of them replayed, and plain ones."""
    model, plain = ready(build, device), ready(build, device)
    recorded = graphs(model, recipe)
    found = []
    for number, some in enumerate((rows, rows[:-1], rows)):
        packed = pack(some, model.device)
        if not agree(recorded(packed, 7), Plain(plain, recipe)(packed, 7)):
            found.append(f"pack {number}")
    for number, (one, other) in enumerate(zip(gradients(model), gradients(plain), strict=True)):
        if not torch.allclose(one, other, rtol=1e-3, atol=1e-5) or not one.abs().max() > 0:
            found.append(f"gradient {number}")
    return found


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("build", [llama, gemma])
def test_replayed_gradients_add_up_to_the_plain_ones(build: Callable[[], Any], device: str) -> None:
    assert differing(build, device, RECIPE, ROWS) == []


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_a_replayed_teacher_teaches_the_same(device: str) -> None:
    teacher = lora(recipe=replace(RECIPE, rank=2))
    rows = [with_own_target(teacher, replace(row, replayed=row is ROWS[0]), hidden=False) for row in ROWS[:2]]
    assert differing(llama, device, replace(RECIPE, distillation=0.5), [*rows, *ROWS[2:]]) == []


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_a_replayed_focus_leaves_out_the_same_labels(device: str) -> None:
    assert differing(llama, device, replace(RECIPE, focus_below=0.004), ROWS) == []


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_a_pack_of_one_row_is_replayed_as_well(device: str) -> None:
    assert differing(llama, device, RECIPE, [ROWS[0], ROWS[1]]) == []


def test_a_size_is_recorded_when_it_comes_again() -> None:
    recorded: list[None] = []

    def record(work: Callable[[], None]) -> Callable[[], None]:
        recorded.append(None)
        return work

    model = ready(llama, "cpu")
    backward = Graphs(Plain(model, RECIPE), record)
    counts = []
    for rows in (ROWS, ROWS[:-1], ROWS, ROWS * 20):
        backward(pack(rows, model.device), 7)
        counts.append(len(recorded))

    assert counts == [0, 1, 1, 1]


def test_recording_alone_changes_no_gradient() -> None:
    def recorded(work: Callable[[], None]) -> Callable[[], None]:
        work()
        return lambda: None

    model = ready(llama, "cpu")
    backward = Graphs(Plain(model, RECIPE), recorded)
    backward(pack(ROWS, model.device), 7)
    before = [one.clone() for one in gradients(model)]
    backward(pack(ROWS, model.device), 7)

    assert all(torch.equal(one, other) for one, other in zip(gradients(model), before, strict=True))


def test_a_model_that_cannot_be_recorded_is_trained_plainly_and_says_so_once() -> None:
    def refuse(work: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing")

    model, plain = ready(llama, "cpu"), ready(llama, "cpu")
    backward = Graphs(Plain(model, RECIPE), refuse)
    packed = pack(ROWS, model.device)
    backward(packed, 7)
    with pytest.warns(UserWarning, match="cannot be recorded"):
        assert agree(backward(packed, 7), Plain(plain, RECIPE)(packed, 7))
    backward(packed, 7)

    for _ in range(2):
        Plain(plain, RECIPE)(packed, 7)
    assert all(torch.allclose(one, other) for one, other in zip(gradients(model), gradients(plain), strict=True))


def test_hidden_states_of_a_teacher_are_learned_plainly() -> None:
    def never(work: Callable[[], None]) -> Callable[[], None]:
        raise AssertionError("nothing is to be recorded")

    model = ready(llama, "cpu")
    rows = [with_own_target(model, row) for row in ROWS[:2]]
    backward = Graphs(Plain(model, replace(RECIPE, distillation=1.0, hidden_weight=1.0)), never)

    assert all(backward(pack(rows, model.device), 7).learned.all() for _ in range(3))


def test_a_padded_pack_has_room_for_a_label_that_counts_for_nothing() -> None:
    row = Row(tuple(range(256)), 96)

    assert padded_size(pack([row], torch.device("cpu"))) == (256, 256, 0)
    assert padded_size(pack([Row((*row.input_ids, 256), 1)], torch.device("cpu"))) == (512, 512, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_the_loop_on_a_card_learns_what_it_learns_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(RECIPE, epochs=6)
    recorded = [step.loss for step in Loop(lora().to("cuda"), ROWS, recipe)]
    model = lora().to("cuda")
    loop = Loop(model, ROWS, recipe)
    assert isinstance(backward_of(model, recipe, packs=True), Graphs)
    monkeypatch.setattr(loop, "_backward", Plain(model, recipe))

    assert recorded == pytest.approx([step.loss for step in loop], rel=1e-3, abs=1e-4)
