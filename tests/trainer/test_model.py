"""LoRAs are attached by structure and saved as an engine reads them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from app.core.capacity import BaseShape
from app.core.recipe import Recipe
from app.errors import InvalidRequest, StartupError
from tests.trainer.tiny import gemma, glm_of_experts, llama, seeing_gemma
from workers.trainer.model import (
    attach_lora,
    layers_below,
    linear_layers,
    load_base,
    lora_layers,
    save_adapter,
    target_modules,
)  # fmt: skip

ATTENTION = ["k_proj", "o_proj", "q_proj", "v_proj"]
MLP = ["down_proj", "gate_proj", "up_proj"]
RECIPE = Recipe(rank=4, alpha=8, target="all-linear", layers_from=0.0)


class Decoder(torch.nn.Module):
    """Layers of another architecture, in which attention and MLP share a name."""

    def __init__(self) -> None:
        super().__init__()
        attention = torch.nn.ModuleDict({"qkv": torch.nn.Linear(2, 6), "dense": torch.nn.Linear(2, 2)})
        mlp = torch.nn.ModuleDict({"dense": torch.nn.Linear(2, 2), "gate": torch.nn.Linear(2, 8)})
        self.h = torch.nn.ModuleList([torch.nn.ModuleDict({"self_attention": attention, "mlp": mlp})])
        self.head = torch.nn.Linear(2, 9)

    def get_decoder(self) -> torch.nn.Module:
        return self


@pytest.mark.parametrize("build", [llama, gemma])
@pytest.mark.parametrize(
    ("target", "names"), [("all-linear", sorted(ATTENTION + MLP)), ("mlp", MLP), ("attention", ATTENTION)]
)
def test_targets_are_found_by_structure(build: type, target: str, names: list[str]) -> None:
    assert target_modules(build(), target) == names


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("all-linear", ["dense", "qkv"]),
        ("mlp", ["mlp.dense"]),
        ("attention", ["qkv", "self_attention.dense"]),
    ],
)
def test_names_shared_by_attention_and_mlp_are_told_apart(target: str, names: list[str]) -> None:
    assert target_modules(Decoder(), target) == names


def test_the_last_positions_of_several_prompts_are_scored_without_copies_of_the_matrix(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path)
    base = load_base(str(tmp_path), "cpu", "float32")
    given: list[torch.Tensor] = []
    base.get_output_embeddings().register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    base(torch.tensor([[1, 2, 3], [4, 5, 6]]), logits_to_keep=1)

    assert [one.shape[:2] for one in given] == [(2, 1)]
    assert all(one.is_contiguous() for one in given)


def test_a_model_without_such_layers_is_a_sentence() -> None:
    decoder = Decoder()
    del decoder.h[0].mlp

    with pytest.raises(InvalidRequest, match="mlp"):
        target_modules(decoder, "mlp")


@pytest.mark.parametrize("target", ["mlp", "all-linear"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern:RuntimeWarning")  # PEFT's, of its own patterns
def test_experts_of_which_one_is_shared_are_a_sentence(target: str, dropout: float) -> None:
    with pytest.raises(InvalidRequest, match="experts"):
        attach_lora(glm_of_experts(), replace(RECIPE, target=target, dropout=dropout), seed=0)

    attention = attach_lora(glm_of_experts(), replace(RECIPE, target="attention", dropout=dropout), seed=0)
    assert {name.rpartition(".")[2] for name, _ in lora_layers(attention)} == set(ATTENTION)


def test_only_lora_weights_require_grad() -> None:
    model = attach_lora(llama(), RECIPE, seed=0)

    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}

    assert trainable
    assert all("lora_" in name for name in trainable)


def test_lora_weights_have_the_base_models_dtype() -> None:
    model = attach_lora(llama().bfloat16(), RECIPE, seed=0)

    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_the_same_seed_starts_from_the_same_weights() -> None:
    states = [attach_lora(llama(), RECIPE, seed=seed).state_dict() for seed in (1, 1, 2)]
    name = next(name for name in states[0] if "lora_A" in name)

    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


def test_a_saved_adapter_loads_again_and_names_no_local_path(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path / "base")
    model = attach_lora(load_base(str(tmp_path / "base"), "cpu", "float32"), RECIPE, seed=0).eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    save_adapter(model, tmp_path / "adapter")

    again = PeftModel.from_pretrained(llama(), tmp_path / "adapter").eval()
    ids = torch.arange(5)[None]
    config = (tmp_path / "adapter" / "adapter_config.json").read_text()

    assert torch.allclose(again(ids).logits, model(ids).logits, atol=1e-5)
    assert str(tmp_path) not in config
    assert json.loads(config)["target_modules"] == sorted(ATTENTION + MLP)
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert all(".lora_" in name for name in load_file(tmp_path / "adapter" / "adapter_model.safetensors"))


@pytest.mark.parametrize("build", [llama, gemma])
@pytest.mark.parametrize(
    ("first", "share", "layers"),
    [
        (0.0, 0.0, range(1)),
        (0.0, 0.5, range(2)),
        (0.0, 0.6, range(2)),
        (0.0, 1.0, range(4)),
        (0.5, 1.0, range(2, 4)),
        (0.25, 0.5, range(1, 3)),
        (0.9, 0.5, range(3, 4)),
        (1.0, 0.0, range(3, 4)),
    ],
)
def test_only_the_layers_that_the_recipe_means_carry_a_lora_and_are_saved(
    build: Callable[..., Any], first: float, share: float, layers: range, tmp_path: Path
) -> None:
    kinds = {"layer_types": ["full_attention"] * 4} if build is gemma else {}
    recipe = replace(RECIPE, layers_from=first, layer_share=share)
    model = attach_lora(build(num_hidden_layers=4, **kinds), recipe, seed=0)
    save_adapter(model, tmp_path)
    saved = {int(name.split(".layers.")[1].split(".")[0]) for name in load_file(tmp_path / "adapter_model.safetensors")}
    trained = {name.split(".layers.")[1].split(".")[0] for name, one in model.named_parameters() if one.requires_grad}

    assert saved == set(map(int, trained)) == set(layers)
    assert layers_below(model) == list(model.get_decoder().layers)[: layers[0]]
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == sorted(ATTENTION + MLP)
    again = PeftModel.from_pretrained(build(num_hidden_layers=4, **kinds), tmp_path)
    assert {int(name.split(".layers.")[1].split(".")[0]) for name, _ in lora_layers(again)} == set(layers)


@pytest.mark.parametrize(("target", "names"), [("all-linear", sorted(ATTENTION + MLP)), ("attention", ATTENTION)])
def test_a_vision_tower_carries_no_lora(target: str, names: list[str], tmp_path: Path) -> None:
    recipe, model = replace(RECIPE, target=target, layers_from=0.5), seeing_gemma()
    shape = BaseShape("b" * 64, "seeing", linear_layers(model), weight_bytes=2, template_tokens=0)
    model = attach_lora(model, recipe, seed=0)
    save_adapter(model, tmp_path)
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)

    assert all(".language_model." in name for name in load_file(tmp_path / "adapter_model.safetensors"))
    assert shape.lora_parameters(recipe.rank, recipe) == trained
    assert layers_below(model) == list(model.get_decoder().layers)[:2]
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == names


def test_layers_of_unequal_size_are_each_counted_where_they_are() -> None:
    model = llama(num_hidden_layers=4)
    for number in (0, 2):
        model.get_decoder().layers[number].mlp.up_proj = torch.nn.Linear(32, 80, bias=False)
    shape = BaseShape("b" * 64, "uneven", linear_layers(model), weight_bytes=2, template_tokens=0)
    recipe = replace(RECIPE, layers_from=0.75)
    trained = sum(one.numel() for one in attach_lora(model, recipe, seed=0).parameters() if one.requires_grad)

    assert shape.lora_parameters(recipe.rank, recipe) == trained


def test_a_missing_base_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="LOREKEEP_BASE_MODEL"):
        load_base(str(tmp_path / "none"), "cpu", "bfloat16")
