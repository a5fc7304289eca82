"""A composite's files are what an engine may load, and hold what the members' files say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from app.core.composition import METHODS, Composition
from app.core.names import AdapterName
from tests.engine.fakes import change_json, write_adapter
from workers.engine.blend import Blend, blend
from workers.engine.checks import CONFIG, WEIGHTS

UP, DOWN = (f"base_model.model.model.layers.0.mlp.{module}" for module in ("up_proj", "down_proj"))


def update(folder: Path, module: str = UP) -> Tensor:
    """The update that an engine makes of a folder."""
    tensors, config = load_file(folder / WEIGHTS), json.loads((folder / CONFIG).read_text())
    a, b = (tensors[f"{module}.lora_{side}.weight"] for side in "AB")
    whole: Tensor = (config["lora_alpha"] / config["r"]) * b @ a
    return whole


def made(root: Path, names: list[AdapterName], method: str, *, most: int = 64, **options: Any) -> tuple[Path, Blend]:
    composition = Composition.of(method, names, **options)
    into = root / "made"
    into.mkdir()
    folders = [root / name.folder for name in composition.members]
    weights = composition.weights
    assert not isinstance(weights, str)
    return into, blend(folders, composition, weights, most, into)


@pytest.mark.parametrize("method", METHODS)
def test_a_composite_of_one_member_is_that_member(tmp_path: Path, method: str) -> None:
    name = write_adapter(tmp_path)
    options: dict[str, Any] = {"density": 1.0} if method in {"ties", "dare"} else {}
    into, blended = made(tmp_path, [name], method, **options)

    torch.testing.assert_close(update(into), update(tmp_path / name.folder))
    assert blended == Blend(rank=4, error=0.0)


def test_alpha_counts_as_it_does_in_training(tmp_path: Path) -> None:
    names = [write_adapter(tmp_path, 1), write_adapter(tmp_path, 2, rank=2)]
    change_json(tmp_path / names[0].folder / CONFIG, lora_alpha=32)
    into, blended = made(tmp_path, names, "cat", weights=[1.0, 0.5])
    exact = (update(tmp_path / names[0].folder) + 0.5 * update(tmp_path / names[1].folder)) / 2**0.5

    torch.testing.assert_close(update(into), exact)
    assert blended.rank == 6


@pytest.mark.parametrize("method", METHODS)
def test_a_module_that_one_member_lacks_comes_from_the_others(tmp_path: Path, method: str) -> None:
    names = [write_adapter(tmp_path, 1), write_adapter(tmp_path, 2, module="down_proj")]
    options: dict[str, Any] = {"density": 1.0} if method in {"ties", "dare"} else {}
    into, blended = made(tmp_path, names, method, weights=[1.0, 1.0], **options)
    scale = 0.5**0.5 if method == "cat" else 1.0

    torch.testing.assert_close(update(into), scale * update(tmp_path / names[0].folder))
    torch.testing.assert_close(update(into, DOWN), scale * update(tmp_path / names[1].folder, DOWN))
    assert json.loads((into / CONFIG).read_text())["target_modules"] == ["down_proj", "up_proj"]
    assert blended.rank == 4


def test_compression_says_what_it_lost(tmp_path: Path) -> None:
    names = [write_adapter(tmp_path, number, rank=3) for number in (1, 2)]
    into, blended = made(tmp_path, names, "cat", most=4)
    exact = sum((update(tmp_path / name.folder) for name in names), torch.zeros(8, 8)) / 2**0.5
    off = float((update(into) - exact).norm() / exact.norm())

    assert blended.rank == 4
    assert 0 < blended.error < 1
    assert off == pytest.approx(blended.error, abs=1e-4)


def test_the_same_recipe_makes_the_same_weights(tmp_path: Path) -> None:
    names = [write_adapter(tmp_path, number) for number in (1, 2)]
    first, _ = made(tmp_path, names, "dare", density=0.5)
    weights = (first / WEIGHTS).read_bytes()
    (tmp_path / "made").rename(tmp_path / "before")
    again, _ = made(tmp_path, names[::-1], "dare", density=0.5)

    assert (again / WEIGHTS).read_bytes() == weights
