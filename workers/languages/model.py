"""The guard's LoRA on a base model, or on a base model that carries a memory's LoRA already."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer

from app.core.guard_recipe import GuardRecipe
from app.core.recipe import Recipe
from workers.trainer.model import attach_lora

GUARD, MEMORY = "default", "memory"


def attach_guard(base: Any, recipe: GuardRecipe, memory: Path | None = None) -> Any:
    """Put the LoRA of a guard on a model, the only weights that can be trained; the same seed, the same weights.

    Args:
        memory: folder of an adapter that stays as it is and answers together with the guard, as a composite does.

    Raises:
        InvalidRequest: the model has no layers such as the recipe wants.
    """
    lora = Recipe(rank=recipe.rank, alpha=recipe.alpha, target=recipe.target, layers_from=0)
    model: PeftModel = attach_lora(base, lora, recipe.seed)
    if memory is not None:
        model.load_adapter(memory, MEMORY, autocast_adapter_dtype=False)
        model.base_model.set_adapter([GUARD, MEMORY])
        for name, weight in model.named_parameters():
            weight.requires_grad_(f".{GUARD}." in name)
    return model


def without_guard(model: Any) -> AbstractContextManager[None]:
    """Switch the guard off: what is left is the reference, in the very same weights."""
    return without(model, GUARD)


@contextmanager
def without(model: Any, name: str) -> Iterator[None]:
    """Switch one of the model's LoRAs off; nothing where it has none of that name."""
    layers = [module for module in model.modules() if isinstance(module, LoraLayer) and name in module.scaling]
    scales = [layer.scaling[name] for layer in layers]
    try:
        for layer in layers:
            layer.scaling[name] = 0.0
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scaling[name] = scale
