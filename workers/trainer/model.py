"""The base model and its LoRA: loaded, attached by structure, saved as engines read them."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from app.core.capacity import LinearLayers
from app.core.recipe import Recipe
from app.errors import InvalidRequest, StartupError
from app.settings import Dtype
from workers.dtype import pick_dtype, uses_cuda

_IN_LAYER = re.compile(r"(?:^|\.)(?P<layer>\d+)\.(?P<path>.+)$")
_ROUTERS = frozenset({"gate", "router", "shared_expert_gate"})  # of mixtures of experts: never carry a LoRA

_WANTED: dict[str, Callable[[str], bool]] = {
    "all-linear": lambda path: True,
    "attention": lambda path: "attn" in path or "attention" in path,
    "mlp": lambda path: "attn" not in path and "attention" not in path,
}


def load_base(model: str, device: str, dtype: Dtype) -> Any:
    """Load a base model for training; on CUDA it is spread over the cards there are.

    On the CPU, attention is computed the eager way: the fused kernel is slower on packs of a few hundred tokens.

    Args:
        model: path or hub id.
        device: "auto", "cpu" or "cuda".
        dtype: of the weights, the engine's own; see `pick_dtype`.

    Raises:
        StartupError: there is no such model or no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise StartupError("LOREKEEP_DEVICE is cuda, but torch finds no CUDA device: set it to cpu or auto.")
    on_cuda = uses_cuda(device)
    try:
        base = AutoModelForCausalLM.from_pretrained(
            model,
            dtype=getattr(torch, pick_dtype(dtype, on_cuda=on_cuda)),
            device_map="auto" if on_cuda else None,
            attn_implementation=None if on_cuda else "eager",
        )
    except (OSError, ValueError) as error:
        raise StartupError(
            f"The base model {model!r} cannot be loaded: set LOREKEEP_BASE_MODEL to a model's folder or hub id."
        ) from error
    # the last positions of several prompts are a slice: in bfloat16 PyTorch copies the matrix for each of them
    base.get_output_embeddings().register_forward_pre_hook(lambda _, given: (given[0].contiguous(), *given[1:]))
    return base


def attach_lora(model: Any, recipe: Recipe, seed: int) -> Any:
    """Freeze the base model and put a LoRA where `recipe` says; the same seed, the same weights.

    LoRA weights have the base model's dtype, so that no activation is cast; the optimizer keeps them in float32.

    Raises:
        InvalidRequest: the model has no such layers, or they are experts.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=target_modules(model, recipe.target),
        exclude_modules=_outside_decoder(model),
        layers_to_transform=list(recipe.layers(layer_count(model))),
    )
    unfit = InvalidRequest(
        f"The base model has no {recipe.target} layers that can carry a LoRA where the recipe has them, "
        "for experts cannot: choose another target, such as attention.",
        "recipe.target",
    )
    try:
        carrying = get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise unfit from error
    if config.target_parameters:  # where experts are shared PEFT takes their layers' names for those of all experts
        raise unfit
    return carrying.train()


@contextmanager
def base_alone(model: Any) -> Iterator[None]:
    """Switch every LoRA off; afterwards the same weights can be trained as before.

    PEFT's own way makes the weights of all active adapters trainable on its way out, frozen ones too.
    """
    could_train = [(weight, weight.requires_grad) for weight in model.parameters()]
    try:
        with model.disable_adapter():
            yield
    finally:
        for weight, could in could_train:
            weight.requires_grad_(could)


def target_modules(model: torch.nn.Module, target: str) -> list[str]:
    """Name the linear layers of a decoder that `target` means, by structure: no architecture is listed.

    A linear layer inside a numbered layer belongs to the attention if its path says so, else to the MLP. What is
    outside the numbered layers (embeddings, the output head) never carries a LoRA.

    Returns:
        Suffixes of module names, each as short as tells the wanted layers from the others.

    Raises:
        InvalidRequest: the model has no such layers.
    """
    paths = {path for _, path, _ in _linears(model)}
    wanted = {path for path in paths if _WANTED[target](path)}
    if not wanted:
        raise InvalidRequest(
            f"The base model has no {target} layers that can carry a LoRA: choose another target.", "recipe.target"
        )
    return sorted({_shortest_suffix(path, paths - wanted) for path in wanted})


def _outside_decoder(model: torch.nn.Module) -> str | None:
    """Return a pattern of the names of what is no part of the decoder: an encoder's layers are often named as its."""
    decoder = model.get_decoder()  # type: ignore[operator]
    name = next(name for name, module in model.named_modules() if module is decoder)
    return rf"(?!{re.escape(name)}\.).*" if name else None


def layer_count(model: torch.nn.Module) -> int:
    """Return how many numbered layers the decoder has."""
    names = [name for name, _ in model.get_decoder().named_modules()]  # type: ignore[operator]
    return 1 + max(int(match["layer"]) for name in names if (match := _IN_LAYER.search(name)))


def layers_below(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the decoder's layers below the first that carries the LoRA, in their order; none where no layer does."""
    places = [match for name, _ in lora_layers(model) if (match := _IN_LAYER.search(name))]
    if not places:
        return []
    first = min(places, key=lambda match: int(match["layer"]))
    every = model.get_submodule(first.string[: first.start("layer")].rstrip("."))
    return list(every.children())[: int(first["layer"])]


def lora_layers(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the layers that carry the LoRA which is trained, by name."""
    for name, module in model.named_modules():
        if "default" in getattr(module, "lora_A", {}):
            yield name, module


def linear_layers(model: torch.nn.Module) -> tuple[LinearLayers, ...]:
    """Return the decoder's linear layers that can carry a LoRA, by place and size."""
    places: dict[tuple[str, str, int, int], list[int]] = defaultdict(list)
    for number, path, layer in _linears(model):
        kind = "mlp" if _WANTED["mlp"](path) else "attention"
        places[path, kind, layer.in_features, layer.out_features].append(number)
    return tuple(LinearLayers(*place, tuple(numbers)) for place, numbers in sorted(places.items()))


def save_adapter(model: Any, folder: Path) -> None:
    """Write the two files an engine loads; neither says where the base model lies on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous().cpu() for name, tensor in get_peft_model_state_dict(model).items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config["default"]
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "target_modules": sorted(config.target_modules),
        "layers_to_transform": config.layers_to_transform,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
    }
    (folder / "adapter_config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def _linears(model: torch.nn.Module) -> Iterator[tuple[int, str, torch.nn.Linear]]:
    """Yield the decoder's linear layers with the number of their layer and their paths below it."""
    for name, module in model.get_decoder().named_modules():  # type: ignore[operator]
        match = _IN_LAYER.search(name)
        if match and isinstance(module, torch.nn.Linear) and name.rpartition(".")[2] not in _ROUTERS:
            yield int(match["layer"]), match["path"], module


def _shortest_suffix(path: str, others: set[str]) -> str:
    parts = path.split(".")
    for length in range(1, len(parts)):
        suffix = ".".join(parts[-length:])
        if not any(f".{other}".endswith(f".{suffix}") for other in others):
            return suffix
    return path
