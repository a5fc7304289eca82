"""A guard on top of a memory: it alone is trained, and what is below it stays as it is."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from app.core.guard_recipe import GuardRecipe
from app.core.recipe import Recipe
from tests.languages.bilingual import BOS, bilingual, ids_of
from tests.trainer.tiny import byte_tokenizer, llama
from workers.languages.canary import guard_canary
from workers.languages.explore import Group
from workers.languages.model import attach_guard, without_guard
from workers.languages.train import GuardLoop
from workers.trainer.model import attach_lora, save_adapter
from workers.trainer.null_space import general_rows
from workers.trainer.restraint import restraint

RECIPE = GuardRecipe(language="ko", rank=4, learning_rate=1e-2, steps=6, iterations=1, warmup_ratio=0.0)
GROUPS = [Group((BOS, *ids_of("다라")), ids_of("마ab1"), (1.0, -1.0, -1.0, 0.0))]


def a_memory(folder: Path, base: Callable[[], Any] = bilingual) -> Path:
    """Save a LoRA that changes what the model says."""
    model = attach_lora(base(), Recipe(rank=2, alpha=4), seed=1)
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    save_adapter(model, folder)
    return folder


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@torch.no_grad()
def said(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([GROUPS[0].prefix])).logits
    return logits[0, -1].log_softmax(-1)


def test_the_reference_of_a_guard_on_a_memory_is_the_memory(tmp_path: Path) -> None:
    memory = a_memory(tmp_path)
    model = attach_guard(bilingual(), RECIPE, memory)
    with_memory = said(model)
    first, *_ = GuardLoop(model, RECIPE).learn(GROUPS, 1)

    with without_guard(model):
        reference = said(model)

    assert first.kl == 0
    assert torch.equal(reference, with_memory)
    assert not torch.allclose(with_memory, said(bilingual()), atol=0.01)
    assert not torch.allclose(with_memory, said(model), atol=0.01)


def test_only_the_guard_is_trained_and_saved(tmp_path: Path) -> None:
    model = attach_guard(bilingual(), RECIPE, a_memory(tmp_path / "memory"))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    save_adapter(model, tmp_path / "guard")
    alone = attach_guard(bilingual(), RECIPE)
    save_adapter(alone, tmp_path / "alone")

    assert trained
    assert all(".default." in name for name in trained)
    saved, expected = ((tmp_path / one / "adapter_model.safetensors").read_bytes() for one in ("guard", "alone"))
    assert saved == expected


def test_the_canary_is_the_guard_alone_as_an_engine_loads_it(tmp_path: Path) -> None:
    model = attach_guard(bilingual(), RECIPE, a_memory(tmp_path / "memory"))
    list(GuardLoop(model, RECIPE).learn(GROUPS, 1))

    canary = guard_canary(model, GROUPS)
    save_adapter(model, tmp_path / "guard")
    alone = attach_guard(bilingual(), RECIPE, tmp_path / "guard")  # a fresh guard does nothing: what is below it speaks

    [token] = canary.answer_ids
    assert abs(canary.base_logprobs[0] - said(bilingual())[token].item()) < 1e-5
    assert abs(canary.adapter_logprobs[0] - said(alone)[token].item()) < 1e-5
    assert canary.gain > 0.05


def test_the_canary_is_likelier_with_the_guard_even_where_another_token_fell_further() -> None:
    model = attach_guard(bilingual(), RECIPE)
    off = said(model)
    list(GuardLoop(model, RECIPE).learn(GROUPS, 1))
    moved = said(model) - off
    candidates = list(GROUPS[0].candidates)
    canary = guard_canary(model, GROUPS)

    assert -moved[candidates].min() > moved[candidates].max()  # else this shows nothing
    assert canary.gain > 0


def test_a_guard_that_is_held_back_leaves_its_memory_alone_and_can_be_taken_up_again(
    tmp_path: Path,
) -> None:
    memory = a_memory(tmp_path / "memory", llama)
    recipe = replace(RECIPE, protect=0.9, consolidation=1.0, stop_mass=0.0)
    general = general_rows(byte_tokenizer())

    def begun() -> tuple[Any, GuardLoop]:
        model = attach_guard(llama(), recipe, memory)
        held_back = restraint(model, general, recipe, tmp_path, "b" * 64)
        return model, GuardLoop(model, recipe, held_back)

    whole, loop = begun()  # reads what general inputs have in common; the next finds it
    trained = {name for name, weight in whole.named_parameters() if weight.requires_grad}
    before, steps = weights(whole), loop.learn(GROUPS, 1)
    next(steps)
    again, resumed = begun()
    resumed.resume(deepcopy(loop.state()))
    list(steps), list(resumed.learn(GROUPS, 1))

    after = weights(whole)
    assert trained
    assert trained == {name for name in after if ".default." in name}
    assert all(torch.equal(before[name], after[name]) for name in after.keys() - trained)
    assert all(torch.equal(one, after[name]) for name, one in weights(again).items())


def test_the_canary_leaves_the_memory_below_a_guard_frozen(tmp_path: Path) -> None:
    model = attach_guard(bilingual(), RECIPE, a_memory(tmp_path / "memory"))
    guard_canary(model, GROUPS)

    assert all(weight.requires_grad == (".default." in name) for name, weight in model.named_parameters())
