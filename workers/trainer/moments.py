"""Second moments of what layers are given, and of derivatives by what they say, added up while rows are read."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from workers.trainer.batches import Pack, pack, split_packs
from workers.trainer.encode import Row
from workers.trainer.forward import packs_exactly
from workers.trainer.kept import keep_tensors
from workers.trainer.model import base_alone, lora_layers

PACK_TOKENS = 512
EXACT_WIDTH = 2048  # wider moments' directions are found by a random projection
_BYTES_AT_ONCE = 2**31  # of moments

Found = TypeVar("Found")


class Moments:
    """The (width, width) sums over all tokens of x xᵀ, by layer.

    Attributes:
        sums: in float32.
        tokens: how many were added for each; none for a layer that nothing went through.
    """

    def __init__(self, widths: Mapping[str, int], *, unit: bool = False) -> None:
        """Begin at nothing.

        Args:
            unit: whether each token counts the same, as x / |x|.
        """
        self.sums = {name: torch.zeros(width, width) for name, width in widths.items()}
        self.tokens: Counter[str] = Counter()
        self._unit = unit

    def of_inputs(self, name: str) -> Callable[..., None]:
        """Return a forward pre-hook that adds what a layer is given."""
        return lambda _layer, given: self._add(name, given[0])

    def of_derivatives(self, name: str) -> Callable[..., torch.Tensor]:
        """Return a forward hook that adds what comes back to what a layer says."""

        def hook(_layer: Any, _given: Any, said: torch.Tensor) -> torch.Tensor:
            if not said.requires_grad:  # the first layer from below: nothing has to come back any further
                said = said.detach().requires_grad_()
            said.register_hook(lambda back: self._add(name, back))
            return said

        return hook

    @torch.no_grad()
    def _add(self, name: str, given: torch.Tensor) -> None:
        tokens = given.flatten(0, -2)  # (T, width)
        if self._unit:
            tokens = functional.normalize(tokens.float(), dim=1).to(tokens.dtype)
        elif tokens.dtype == torch.float16:
            tokens = tokens.float()  # squares may leave its range
        self.sums[name] = self.sums[name].to(tokens.device).add_(tokens.T @ tokens)  # of a pack in its own precision
        self.tokens[name] += len(tokens)


def read(
    model: Any,
    rows: Sequence[Row],
    hooks: Sequence[RemovableHandle],
    look: Callable[[Pack], object],
    on_read: Callable[[int, int], None] | None,
) -> None:
    """Look at rows, packed, with the base model alone, and remove the hooks that listened.

    Args:
        on_read: told how many of the rows are read, and how many there are.
    """
    together = PACK_TOKENS if packs_exactly(model, rows) else 0
    was_training, done = model.training, 0
    model.eval()
    try:
        with base_alone(model):
            for group in split_packs(rows, together):
                look(pack(group, model.device))
                done += len(group)
                if on_read:
                    on_read(done, len(rows))
    finally:
        for hook in hooks:
            hook.remove()
        model.train(was_training)


def by_layer(
    model: Any, file: Path, find: Callable[[Collection[str]], Mapping[str, Found]], *, outputs: bool = False
) -> dict[str, Found]:
    """Return what is found of the layers that carry the LoRA; what the file lacks is found, and kept in it.

    Args:
        find: of some layers, by name, tensors or tuples of them, on the CPU.
        outputs: whether it takes moments of what layers say as well.
    """
    layers = sorted(name for name, _ in lora_layers(model))
    known: dict[str, Found] = torch.load(file, weights_only=True) if file.is_file() else {}
    missing = [name for name in layers if name not in known]
    if missing:
        for group in _in_groups(model, missing, outputs=outputs):
            known |= find(group)
        keep_tensors(file, known)
    return {name: known[name] for name in layers}


def main_directions(moment: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (K,) greatest values of a (width, width) moment and their (width, K) directions, K at most `most`."""
    if len(moment) > EXACT_WIDTH:
        directions, values, _ = torch.svd_lowrank(moment, q=most)
        return values, directions
    values, directions = torch.linalg.eigh(moment)
    most = min(most, len(moment))
    return values.flip(0)[:most], directions.flip(1)[:, :most]


def _in_groups(model: Any, names: Sequence[str], *, outputs: bool = False) -> Iterator[list[str]]:
    """Yield layers in groups whose moments, of inputs or of both sides, fit into memory together."""
    layers = dict(lora_layers(model))
    group: list[str] = []
    for name in names:
        if group and sum(_bytes(layers[one], outputs=outputs) for one in [*group, name]) > _BYTES_AT_ONCE:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def _bytes(layer: Any, *, outputs: bool) -> int:
    width, said = int(layer.in_features), int(layer.out_features) if outputs else 0
    return 4 * (width**2 + said**2)


def rows_digest(rows: Sequence[Row]) -> str:
    """Return what names rows in a file's name."""
    return hashlib.sha256(json.dumps([row.input_ids for row in rows]).encode()).hexdigest()[:8]
