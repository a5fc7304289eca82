"""What the base model says of replay, kept: its targets depend on the base model and the row alone, not on a memory."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from app.core.recipe import Recipe
from workers.trainer.encode import Row
from workers.trainer.kept import keep_tensors
from workers.trainer.targets import Target
from workers.trainer.teacher import ask_teacher


def with_replay_targets(
    model: Any,
    rows: Sequence[Row],
    recipe: Recipe,
    folder: Path,
    base_digest: str,
    *,
    on_read: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Give each replayed row its target, asking the base model only for those that no memory has asked for before.

    Args:
        model: from `attach_lora`; its LoRA is off meanwhile.
        folder: where the targets are kept, a file for each base model.
        on_read: told how many of the missing ones are read, and how many there are.
    """
    path = folder / f"targets-{base_digest[:16]}{'-hidden' if recipe.hidden_weight else ''}.pt"
    known: dict[str, dict[str, Any]] = torch.load(path, weights_only=True) if path.is_file() else {}
    missing = [row for row in rows if row.replayed and _key(row) not in known]
    if missing:
        said = ask_teacher(model, missing, recipe, on_read)
        known |= {_key(row): vars(target) for row, target in zip(missing, said, strict=True) if target is not None}
        keep_tensors(path, known)
    return [replace(row, target=Target(**known[_key(row)])) if row.replayed else row for row in rows]


def _key(row: Row) -> str:
    return hashlib.sha256(json.dumps([row.answer_start, row.input_ids]).encode()).hexdigest()[:32]
