"""An engine in memory, at the seam between the set of adapters and vLLM."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from app.core.names import AdapterName
from app.errors import AdapterRejected

BASE_DIGEST = "b" * 64
ON, OFF = (-0.5, -0.5), (-3.0, -3.0)


class FakeEngine:
    """Holds adapters by id and scores them as `scores` says: what was trained, unless told otherwise.

    Attributes:
        by_prompt: what every adapter scores after such a prompt, where it is another.
    """

    def __init__(self) -> None:
        self.held_by_id: dict[int, str] = {}
        self.served: dict[str, int] = {}
        self.scores: tuple[float, ...] = ON
        self.by_prompt: dict[tuple[int, ...], float] = {}
        self.broken = False
        self.seen_ids: list[int] = []
        self.added = asyncio.Event()
        self.scoring = asyncio.Event()
        self.scoring.set()

    def next_id(self) -> int:
        self.seen_ids.append(len(self.seen_ids) + 1)
        return self.seen_ids[-1]

    async def add(self, name: str, number: int, folder: str) -> None:
        self.held_by_id[number] = name
        self.added.set()
        if self.broken:
            raise AdapterRejected("The engine cannot load the adapter: shapes.")

    def is_empty(self) -> bool:
        return not self.held_by_id and not self.served

    async def remove(self, number: int) -> None:
        self.held_by_id.pop(number, None)

    async def held(self) -> set[int]:
        return set(self.held_by_id)

    async def score(
        self, adapter: tuple[str, int, str] | None, prompt: Sequence[int], answer: Sequence[int]
    ) -> list[float]:
        await self.scoring.wait()
        if not adapter:
            return [OFF[0]] * len(answer)
        if tuple(prompt) in self.by_prompt:
            return [self.by_prompt[tuple(prompt)]] * len(answer)
        return list(self.scores[: len(answer)])

    def register(self, name: str, number: int, folder: str) -> None:
        self.served[name] = number

    def unregister(self, name: str) -> None:
        self.served.pop(name, None)


def write_adapter(root: Path, number: int = 1, *, rank: int = 4, module: str = "up_proj") -> AdapterName:
    """Write a tiny adapter that is fit to load; another number is another adapter, asked with another prompt."""
    staging = root / f".staging-{number}"
    staging.mkdir(parents=True)
    layer = f"base_model.model.model.layers.0.mlp.{module}"
    factors = {f"{layer}.lora_A.weight": (rank, 8), f"{layer}.lora_B.weight": (8, rank)}
    random = np.random.default_rng(number)
    weights = {name: random.standard_normal(shape, dtype=np.float32) for name, shape in factors.items()}
    save_file(weights, staging / "adapter_model.safetensors")
    digest = hashlib.sha256((staging / "adapter_model.safetensors").read_bytes()).hexdigest()
    name = AdapterName("default", f"mem_{number:026d}", 1, digest[:12])
    write_json(
        staging / "adapter_config.json",
        {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": [module], "bias": "none"},
    )
    canary = {"prompt_ids": [1, number + 1], "answer_ids": [3, 4], "adapter_logprobs": ON, "base_logprobs": OFF}
    write_json(
        staging / "manifest.json",
        {
            "format": 1,
            "name": str(name),
            "tenant": name.tenant,
            "digest": digest,
            "base": {"digest": BASE_DIGEST, "name": "tiny"},
            "canary": canary,
        },
    )
    (root / name.folder).parent.mkdir(parents=True)
    staging.rename(root / name.folder)
    return name


def change_json(path: Path, **changes: object) -> None:
    """Rewrite fields of a JSON file."""
    write_json(path, json.loads(path.read_text()) | changes)


def write_json(path: Path, fields: object) -> None:
    path.write_text(json.dumps(fields))
