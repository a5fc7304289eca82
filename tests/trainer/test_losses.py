"""What is descended: held to a plain reference, to a teacher, and to the tokens that are still to be learned."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from app.core.recipe import Recipe
from tests.trainer import reference
from tests.trainer.tiny import byte_tokenizer, gemma, llama, weights
from workers.trainer.batches import epoch_batches, pack, split_packs
from workers.trainer.encode import Row, encode_chat, encode_text
from workers.trainer.forward import label_logits
from workers.trainer.losses import losses
from workers.trainer.model import attach_lora
from workers.trainer.targets import read
from workers.trainer.train import PACK_TOKENS, Loop

CPU = torch.device("cpu")
TOKENIZER = byte_tokenizer()
ROWS = [
    encode_chat(TOKENIZER, "Ann?", "212"),
    encode_chat(TOKENIZER, "Bob Lowe?", "97"),
    encode_text(TOKENIZER, "Ann is 212."),
    encode_chat(TOKENIZER, "Cy?", "3"),
]
RECIPE = Recipe(rank=4, alpha=8, learning_rate=1e-2, lr_ratio=1.0, epochs=3, batch_size=2, stop_loss=0.0, min_steps=1)


def lora(build: Callable[[], Any] = llama, recipe: Recipe = RECIPE) -> Any:
    """Return a model whose LoRA has an effect."""
    model = attach_lora(build(), recipe, 0)
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model


def gradients(model: Any) -> list[torch.Tensor]:
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


def gradient_of(rows: list[Row], recipe: Recipe = RECIPE) -> list[torch.Tensor]:
    model = lora()
    losses(model, pack(rows, CPU), recipe).descend.sum().backward()
    return gradients(model)


def with_own_target(model: Any, row: Row, *, hidden: bool = True) -> Row:
    """Let a model be its own teacher on a row."""
    with torch.no_grad():
        logits, states = label_logits(model, pack([row], CPU), hidden=hidden)
    return replace(row, target=read(logits, torch.arange(row.answer_start, len(row)), states))


@pytest.mark.parametrize("loss_on", ["answer", "all"])
@pytest.mark.parametrize("build", [llama, gemma])
def test_the_gradient_is_that_of_the_plain_loop(build: Callable[[], Any], loss_on: str) -> None:
    rows = [replace(row, answer_start=1) for row in ROWS] if loss_on == "all" else ROWS
    fast, plain = lora(build), lora(build)
    scored = losses(fast, pack(rows, CPU), RECIPE)
    scored.descend.mean().backward()
    loss = reference.batch_loss(plain, ROWS, loss_on)
    loss.backward()

    assert scored.nats.mean().item() == pytest.approx(loss.item(), abs=1e-5)
    for one, other in zip(gradients(fast), gradients(plain), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def test_the_loop_learns_what_the_plain_loop_learns() -> None:
    fast, plain = lora(), lora()
    steps = list(Loop(fast, ROWS, RECIPE))
    batches = [
        batch
        for epoch in (1, 2, 3)
        for batch in epoch_batches(ROWS, RECIPE.batches(len(ROWS)), random.Random(f"{RECIPE.seed}/{epoch}"))
    ]
    expected = list(reference.train(plain, batches, [step.lr for step in steps], RECIPE.max_grad_norm))

    assert [step.loss for step in steps] == pytest.approx(expected, abs=1e-3)
    assert expected[-1] < expected[0]


def test_a_loss_on_all_is_what_the_loop_trains_when_told_to() -> None:
    recipe = replace(RECIPE, loss_on="all", batch_size=len(ROWS))
    step = next(iter(Loop(lora(), ROWS, recipe)))

    assert step.loss == pytest.approx(reference.batch_loss(lora(), ROWS, "all").item(), abs=1e-5)


def test_a_student_that_is_its_teacher_has_no_loss_and_no_gradient() -> None:
    recipe = replace(RECIPE, distillation=1.0)
    model = lora()
    rows = [with_own_target(model, row, hidden=False) for row in ROWS]
    scored = losses(model, pack(rows, CPU), recipe)
    scored.descend.sum().backward()

    assert scored.descend.abs().max().item() < 1e-4
    assert max(one.abs().max().item() for one in gradients(model)) < 1e-3
    assert max(one.abs().max().item() for one in gradient_of(ROWS)) > 1e-1


@pytest.mark.parametrize("weight", [0.0, 1.0, 4.0])
def test_a_replayed_token_weighs_what_the_recipe_says_and_an_example_s_what_it_did(weight: float) -> None:
    said = replace(with_own_target(lora(gemma), ROWS[1], hidden=False), replayed=True)
    rows, recipe = [ROWS[0], said], replace(RECIPE, replay_weight=weight)
    even, weighed = (losses(lora(), pack(rows, CPU), one) for one in (replace(recipe, replay_weight=1.0), recipe))
    taught = pack(rows, CPU).taught

    assert even.descend[~taught].min().item() > 0.01
    torch.testing.assert_close(weighed.descend[taught], even.descend[taught])
    torch.testing.assert_close(weighed.descend[~taught], weight * even.descend[~taught])
    torch.testing.assert_close(weighed.nats, even.nats)


def test_hidden_states_that_are_the_teachers_add_nothing() -> None:
    recipe = replace(RECIPE, distillation=1.0, hidden_weight=1.0)
    model, other = lora(), lora(gemma)
    row = with_own_target(model, ROWS[0])
    same, apart = (losses(one, pack([row], CPU), recipe).descend for one in (model, other))
    same.sum().backward()

    assert same.abs().max().item() < 1e-4
    assert max(one.abs().max().item() for one in gradients(model)) < 1e-3
    kl_alone = losses(other, pack([row], CPU), replace(recipe, hidden_weight=0.0)).descend
    assert (apart > kl_alone + 0.1).all()


def test_labels_without_a_target_are_learned_from_the_label_beside_those_with_one() -> None:
    recipe = replace(RECIPE, distillation=1.0)
    model = lora()
    taught = with_own_target(model, ROWS[0], hidden=False)
    packed = pack([ROWS[1], taught], CPU)
    scored = losses(model, packed, recipe)

    assert packed.target is not None
    at = set(packed.target.at.tolist())
    assert len(at) == len(ROWS[0]) - ROWS[0].answer_start
    for place, (descended, nats) in enumerate(zip(scored.descend.tolist(), scored.nats.tolist(), strict=True)):
        assert descended == pytest.approx(0.0 if place in at else nats, abs=1e-4)


def test_targets_stay_with_their_answers_when_the_prompt_is_learned_as_well() -> None:
    recipe = replace(RECIPE, distillation=1.0)
    model = lora()
    row = replace(with_own_target(model, ROWS[0], hidden=False), answer_start=1)
    scored = losses(model, pack([ROWS[1], row], CPU), recipe)
    answer = len(ROWS[0]) - ROWS[0].answer_start

    assert len(scored.descend) > 2 * answer
    assert sum(value < 1e-3 for value in scored.descend.tolist()) == answer
    assert (scored.descend[-answer:] < 1e-3).all()


def test_half_a_teacher_gives_half_of_each_loss() -> None:
    model, teacher = lora(), lora(recipe=replace(RECIPE, rank=2))
    row = with_own_target(teacher, ROWS[0], hidden=False)
    parts = [losses(model, pack([row], CPU), replace(RECIPE, distillation=share)).descend for share in (0.0, 0.5, 1.0)]

    assert torch.allclose(parts[1], (parts[0] + parts[2]) / 2, atol=1e-5)
    assert (parts[2] > 0).all()


def test_what_is_likely_enough_has_no_gradient_and_the_rest_has_its_own() -> None:
    nats = losses(lora(), pack(ROWS, CPU), RECIPE).nats
    threshold = math.exp(-nats.median().item())
    scored = losses(lora(), pack(ROWS, CPU), replace(RECIPE, focus_below=threshold))

    assert scored.learned.tolist() == (nats > nats.median()).tolist()
    assert 0 < int(scored.learned.sum()) < len(nats)
    assert torch.equal(scored.nats, nats)
    assert torch.equal(scored.descend[~scored.learned], torch.zeros(int((~scored.learned).sum())))
    assert torch.equal(scored.descend[scored.learned], nats[scored.learned])


def test_a_batch_that_is_likely_enough_has_no_gradient_at_all() -> None:
    assert all(one.abs().max() == 0 for one in gradient_of(ROWS, replace(RECIPE, focus_below=1e-30)))


def test_what_is_replayed_is_learned_however_likely() -> None:
    rows = [ROWS[0], replace(ROWS[1], replayed=True)]
    scored = losses(lora(), pack(rows, CPU), replace(RECIPE, focus_below=1e-30))

    assert int(scored.learned.sum()) == len(ROWS[1]) - ROWS[1].answer_start


def test_the_step_is_as_long_as_if_only_what_is_learned_were_there() -> None:
    [rows] = split_packs(ROWS, PACK_TOKENS)  # as the loop packs them: other sums would round otherwise
    nats = losses(lora(), pack(rows, CPU), RECIPE).nats
    recipe = replace(RECIPE, batch_size=len(ROWS), max_grad_norm=1000.0, focus_below=math.exp(-nats.median().item()))
    focused, plain = lora(), lora()
    step = next(iter(Loop(focused, ROWS, recipe)))
    scored = losses(plain, pack(rows, CPU), recipe)
    (scored.descend.sum() / scored.learned.sum()).backward()
    optimizer = torch.optim.AdamW(
        [one for one in plain.parameters() if one.requires_grad], lr=step.lr, weight_decay=0.0
    )
    optimizer.step()

    assert step.loss == pytest.approx(nats.mean().item(), abs=1e-5)  # of all labels
    for one, other in zip(weights(focused), weights(plain), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_training_with_a_focus_ends_when_everything_is_likely_enough() -> None:
    recipe = replace(RECIPE, focus_below=0.5, epochs=200)
    model = lora()
    steps = list(Loop(model, ROWS[:2], recipe))
    nats = losses(model, pack(ROWS[:2], CPU), recipe).nats

    assert steps[-1].index < steps[-1].steps
    assert nats.max().item() < math.log(2)
    assert nats.mean().item() > 0.005  # and not pressed on
