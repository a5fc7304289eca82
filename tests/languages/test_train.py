"""TLPO on a tiny bilingual model: what it moves, what it leaves alone, and that it lowers planted confusion."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from app.core.guard_recipe import GuardRecipe
from app.errors import DivergedError
from tests.languages.bilingual import BOS, END, LATIN, Script, bilingual, ids_of, prompts, tokenizer
from tests.trainer.tiny import weights
from workers.languages.explore import Explorer, Group
from workers.languages.model import attach_guard, without_guard
from workers.languages.torch_policy import TorchPolicy
from workers.languages.train import GuardLoop, GuardStep, lr_scale
from workers.trainer.restraint import Restraint

RECIPE = GuardRecipe(
    language="ko",
    candidates=6,
    look_ahead=1,
    temperature=1.0,
    max_new_tokens=8,
    learning_rate=3e-3,
    points_per_step=4,
    iterations=2,
    steps=6,
    passes=5,
    answers=64,
    points=16,
    beta=0.01,
)
PREFIXES = [(BOS, *ids_of(text)) for text in ("다라", "사아", "라", "바사아")]  # a Latin letter may follow each


def guarded(recipe: GuardRecipe = RECIPE) -> Any:
    return attach_guard(bilingual(), recipe)


def explorer(model: Any, recipe: GuardRecipe = RECIPE) -> Explorer:
    return Explorer(TorchPolicy(model, recipe, ends=[END]), tokenizer(), Script(), recipe, [END])


async def groups_of(model: Any, recipe: GuardRecipe = RECIPE) -> list[Group]:
    return await explorer(model, recipe).judged(PREFIXES)


@torch.no_grad()
def logprobs(model: Any, text: str) -> torch.Tensor:
    """Return (T, V) log-probabilities of what follows each character."""
    logits: torch.Tensor = model(input_ids=torch.tensor([(BOS, *ids_of(text))])).logits
    return logits[0, 1:].log_softmax(-1)


def mass(model: Any, letters: str) -> float:
    """Return the probability of some letters after a syllable that confusion follows."""
    return float(logprobs(model, "다라")[-1, list(ids_of(letters))].exp().sum())


def same(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


def test_the_planted_confusion_is_there() -> None:
    assert 0.3 < mass(bilingual(), LATIN) < 0.6


async def test_before_the_first_update_the_kl_is_nothing_and_the_ratio_one() -> None:
    model = guarded()

    first = next(GuardLoop(model, RECIPE).learn(await groups_of(model), 1))

    assert (first.kl, first.clipped) == (0.0, 0.0)
    assert first.objective == pytest.approx(0, abs=1e-7)  # the advantages' sum


async def test_the_reference_is_the_same_weights_with_the_guard_switched_off() -> None:
    model = guarded()
    list(GuardLoop(model, RECIPE).learn(await groups_of(model), 1))

    with without_guard(model):
        off = logprobs(model, "다라")

    assert torch.equal(off, logprobs(bilingual(), "다라"))
    assert not torch.allclose(off, logprobs(model, "다라"), atol=1e-2)


async def test_a_guard_that_is_kept_out_of_directions_does_not_read_them_and_mends_all_the_same() -> None:
    model, some = guarded(), torch.Generator().manual_seed(1)
    reads = {name.partition(".lora_A.")[0]: one for name, one in model.named_parameters() if ".lora_A." in name}
    space = {layer: torch.linalg.qr(torch.randn(one.shape[1], 3, generator=some)).Q for layer, one in reads.items()}
    before = max((one @ space[layer]).abs().max().item() for layer, one in reads.items())
    list(GuardLoop(model, RECIPE, Restraint(space)).learn(await groups_of(model), 1))

    assert before > 0.1
    assert max((one @ space[layer]).abs().max().item() for layer, one in reads.items()) < 1e-3
    assert mass(model, LATIN) < 0.7 * mass(bilingual(), LATIN)


async def test_nothing_but_the_guard_is_trained() -> None:
    model = guarded()
    frozen = {name: weight.clone() for name, weight in model.named_parameters() if not weight.requires_grad}
    list(GuardLoop(model, RECIPE).learn(await groups_of(model), 1))

    after = dict(model.named_parameters())

    assert all(torch.equal(after[name], weight) for name, weight in frozen.items())


async def test_there_is_no_gradient_at_any_position_but_the_confusion_point() -> None:
    model = guarded()
    seen: list[torch.Tensor] = []
    head = model.get_base_model().get_output_embeddings()

    def keep(_module: Any, _inputs: Any, logits: torch.Tensor) -> None:
        if logits.requires_grad:
            logits.retain_grad()
            seen.append(logits)

    groups = await groups_of(model)
    with head.register_forward_hook(keep):
        next(GuardLoop(model, replace(RECIPE, beta=0.0)).learn(groups[:1], 1))

    [logits] = seen  # one forward for all candidates of a point
    assert logits.grad is not None
    gradient = logits.grad[0]
    assert gradient.shape[0] == 1  # logits are made at the confusion point only
    outside = [i for i in range(gradient.shape[1]) if i not in groups[0].candidates]
    assert gradient[0, outside].abs().max() < 1e-7 < gradient[0, list(groups[0].candidates)].abs().max()


async def test_confused_candidates_lose_mass_and_those_outside_the_list_too() -> None:
    few = replace(RECIPE, candidates=4)
    model = guarded(few)
    groups = await groups_of(model, few)
    outside = "".join(one for one in "abcde" if all(ids_of(one)[0] not in group.candidates for group in groups))
    inside, before = mass(model, "ab"), mass(model, outside)

    list(GuardLoop(model, few).learn(groups, 1))

    assert outside
    assert mass(model, "ab") < 0.5 * inside
    assert mass(model, outside) < before


async def test_unrelated_positions_move_far_less_than_the_confusion_point() -> None:
    model = guarded()
    list(GuardLoop(model, replace(RECIPE, learning_rate=1e-3)).learn(await groups_of(model), 1))
    text = "나다라"
    after, before = logprobs(model, text), logprobs(bilingual(), text)

    *elsewhere, at_point = (before.exp() * (before - after)).sum(-1).tolist()

    assert at_point > 10 * max(elsewhere)


async def test_without_the_kl_what_is_valid_is_sharpened() -> None:
    def kl_of(beta: float, groups: list[Group]) -> float:
        recipe = replace(RECIPE, beta=beta, steps=30, clip=0.5)
        return list(GuardLoop(guarded(recipe), recipe).learn(groups, 1))[-1].kl

    groups = await groups_of(guarded())

    assert kl_of(1.0, groups) < 0.5 * kl_of(0.0, groups)


async def test_clipping_binds_within_a_pass_that_moves_far() -> None:
    fast = replace(RECIPE, learning_rate=3e-2, points_per_step=1, warmup_ratio=0.0)
    model = guarded(fast)

    steps = list(GuardLoop(model, fast).learn(await groups_of(model), 1))

    assert steps[0].clipped == 0
    assert max(step.clipped for step in steps) > 0


async def test_exact_kl_is_a_choice_and_begins_at_nothing_too() -> None:
    recipe = replace(RECIPE, kl="exact")
    model = guarded(recipe)

    steps = list(GuardLoop(model, recipe).learn(await groups_of(model), 1))

    assert steps[0].kl == pytest.approx(0, abs=1e-7)
    assert steps[-1].kl > 0
    assert steps[-1].confused < steps[0].confused


async def test_training_resumed_after_any_step_equals_training_undisturbed() -> None:
    groups = await groups_of(guarded())
    small = replace(RECIPE, points_per_step=2, steps=5)
    whole = guarded(small)
    loop = GuardLoop(whole, small)
    expected = [*loop.learn(groups, 1), *loop.learn(groups[::-1], 2)]

    for stop in range(1, len(expected)):
        cut, again = guarded(small), guarded(small)
        first, second = GuardLoop(cut, small), GuardLoop(again, small)
        steps: list[GuardStep] = []
        for step in (*_until(first, groups, 1, stop), *_until(first, groups[::-1], 2, stop)):
            steps.append(step)
        second.resume(first.state())
        rest = [*second.learn(groups, 1)] if stop <= small.steps else []
        rest += second.learn(groups[::-1], 2)

        assert steps + rest == expected
        assert same(weights(again), weights(whole))


def _until(loop: GuardLoop, groups: Sequence[Group], iteration: int, last: int) -> Any:
    if loop.state()["done"] >= last:
        return
    for step in loop.learn(groups, iteration):
        yield step
        if step.index == last:
            return


async def test_training_ends_when_hardly_anything_is_confused() -> None:
    model = guarded()
    groups = await groups_of(model)

    assert list(GuardLoop(model, replace(RECIPE, stop_mass=0.9)).learn(groups, 1)) == []
    assert list(GuardLoop(model, RECIPE).learn([], 1)) == []


async def test_training_passes_over_the_points_so_often_at_most() -> None:
    model = guarded()
    groups = await groups_of(model)
    recipe = replace(RECIPE, passes=2, steps=100, points_per_step=1, stop_mass=0.0)

    steps = list(GuardLoop(model, recipe).learn(groups, 1))

    assert [step.epoch for step in steps] == [1] * len(groups) + [2] * len(groups)


async def test_a_group_with_fewer_candidates_is_filled_up_with_neutral_ones() -> None:
    model = guarded()
    long, other, *_ = await groups_of(model)
    short = Group(other.prefix, other.candidates[:3], other.rewards[:3])

    alone = next(GuardLoop(guarded(), replace(RECIPE, beta=0)).learn([short], 1))
    both = next(GuardLoop(guarded(), replace(RECIPE, beta=0)).learn([long, short], 1))

    assert both.points == 2
    assert alone.confused < both.confused or alone.valid < both.valid


async def test_an_objective_that_is_not_finite_is_an_error() -> None:
    model = guarded()
    groups = await groups_of(model)
    torch.nn.init.constant_(model.get_base_model().get_output_embeddings().weight, float("nan"))

    with pytest.raises(DivergedError, match="learning_rate"):
        list(GuardLoop(model, RECIPE).learn(groups, 1))


async def test_the_whole_loop_lowers_the_planted_confusion() -> None:
    recipe = replace(RECIPE, steps=16, points=32, answers=128)
    model = guarded(recipe)
    torch.manual_seed(0)
    look, loop, rates = explorer(model, recipe), GuardLoop(model, recipe), []
    for iteration in (1, 2, 3):
        *_, found = [one async for one in look.explore(prompts(), iteration)]
        rates.append(found.rate)
        if iteration < 3:
            list(loop.learn(found.groups, iteration))

    assert rates[0] > 0.4
    assert rates[-1] < 0.5 * rates[0]
    assert mass(model, "마") > mass(bilingual(), "마")


def test_the_learning_rate_rises_and_then_follows_a_cosine_to_a_tenth() -> None:
    scales = [lr_scale(index, 20, 0.1) for index in range(1, 21)]

    assert scales[:3] == [0.5, 1.0, 1.0]
    assert scales[2:] == sorted(scales[2:], reverse=True)
    assert 0.1 < scales[-1] < 0.12
