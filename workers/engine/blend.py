"""The members' files in, the two files of their composite out; module by module, so that memory holds one result."""

import json
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from app.core.composition import Composition
from workers.engine.checks import CONFIG, WEIGHTS
from workers.engine.merge import Factors, Plan, compress, merge

_A, _B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class Blend:
    """What came out.

    Attributes:
        error: share of the whole update that compression lost, as a ratio of Frobenius norms.
    """

    rank: int
    error: float


def blend(
    members: Sequence[Path], composition: Composition, weights: Sequence[float], most_rank: int, into: Path
) -> Blend:
    """Write a composite's weights and configuration to a folder.

    Args:
        members: folders of adapters that `check_adapter` passed, in the order of the composition.
        most_rank: a composite of a higher rank is compressed to this one.
    """
    configs = [json.loads((folder / CONFIG).read_bytes()) for folder in members]
    # alpha/rank; `check_adapter` refuses every pattern and rsLoRA, under which it would be another
    own = [config["lora_alpha"] / config["r"] for config in configs]
    scales = [scale * scaling for scale, scaling in zip(composition.scales(weights), own, strict=True)]
    targets = sorted({target for config in configs for target in config["target_modules"]})
    seed = int(composition.name.digest12, 16)
    merged: dict[str, Factors] = {}
    lost = whole = 0.0
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(folder / WEIGHTS, framework="pt")) for folder in members]
        keys = {key for file in files for key in file.keys()}  # noqa: SIM118 - not a dict
        dtype = reduce(torch.promote_types, {file.get_tensor(next(iter(file.keys()))).dtype for file in files})
        for number, module in enumerate(sorted(key.removesuffix(_A) for key in keys if key.endswith(_A))):
            plan = Plan(composition.method, composition.density or 1.0, seed + number)
            made = _merge_module(files, module, scales, plan)
            merged[module], left = compress(made, most_rank) if made.rank > most_rank else (made, 0.0)
            lost, whole = lost + left, whole + made.squared_norm
    rank = max(one.rank for one in merged.values())
    save_file(_tensors(merged, rank, dtype), into / WEIGHTS, metadata={"format": "pt"})
    (into / CONFIG).write_text(json.dumps(_config(targets, rank)))
    return Blend(rank, math.sqrt(lost / whole) if whole else 0.0)


def _merge_module(files: Sequence[Any], module: str, scales: Sequence[float], plan: Plan) -> Factors:
    """Merge the members that have this module; one that does not would add zeros."""
    present = [
        (Factors(file.get_tensor(module + _A).float(), file.get_tensor(module + _B).float()), scale)
        for file, scale in zip(files, scales, strict=True)
        if module + _A in file.keys()  # noqa: SIM118 - not a dict
    ]
    return merge([one for one, _ in present], [scale for _, scale in present], plan)


def _tensors(merged: dict[str, Factors], rank: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the tensors of one rank: an engine's check, as vLLM, reads it from the configuration alone."""
    wide: dict[str, Tensor] = {}
    for module, one in merged.items():
        missing = rank - one.rank
        wide[module + _A] = torch.nn.functional.pad(one.a, (0, 0, 0, missing)).to(dtype).contiguous()
        wide[module + _B] = torch.nn.functional.pad(one.b, (0, missing)).to(dtype).contiguous()
    return wide


def _config(targets: list[str], rank: int) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": rank,
        "lora_alpha": rank,  # every member's own scaling is in the weights
        "lora_dropout": 0.0,
        "target_modules": targets,
        "bias": "none",
        "inference_mode": True,
    }
