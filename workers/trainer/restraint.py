"""What keeps the base model's general answers while a LoRA is trained: where it may read, and how far it may move them.

A is put back after every step to where it reads nothing of what is common to all general inputs (`null_space`). What it
reads of the rest counts as part of the loss, by how far it is likely to move what is said (`curvature`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from workers.trainer.curvature import Curvature, Factors, Moment, curvature
from workers.trainer.encode import Row
from workers.trainer.model import lora_layers
from workers.trainer.null_space import NullSpace, null_space


class Limits(Protocol):
    """What a recipe says of it."""

    @property
    def protect(self) -> float:
        """Share of general inputs that is not read."""

    @property
    def consolidation(self) -> float:
        """Weight of what is likely to move of general answers."""


@dataclass(frozen=True)
class Restraint:
    """What holds a LoRA back.

    Attributes:
        space: directions that A is kept out of, by layer.
        curvature: how what is said of general inputs depends on a layer, by layer.
        weights: how much of the loss that is, times the LoRA's scale squared, by layer.
    """

    space: NullSpace = field(default_factory=dict)
    curvature: Curvature = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)


def restraint(
    model: Any,
    rows: Sequence[Row],
    recipe: Limits,
    home: Path,
    base_digest: str,
    *,
    on_read: Callable[[int, int], None] | None = None,
) -> Restraint:
    """Return what a recipe's `protect` and `consolidation` ask for; found once for all LoRAs on a base model.

    Args:
        model: from `attach_lora`.
        rows: what is general, such as `general_rows`; those with answers are what `consolidation` keeps.
        on_read: told how many of the rows are read, and how many there are.
    """
    space = null_space(model, rows, recipe.protect, home, base_digest, on_read=on_read)
    answered = [row for row in rows if len(row) > row.answer_start + 1]  # a prompt alone has one label for form's sake
    if not (recipe.consolidation and answered):
        return Restraint(space)
    weights = {name: recipe.consolidation * layer.scaling["default"] ** 2 for name, layer in lora_layers(model)}
    return Restraint(space, curvature(model, answered, home, base_digest, on_read=on_read), weights)


class _Pair(NamedTuple):
    """The float32 weights of one layer's LoRA."""

    a: torch.Tensor  # (rank, in_features)
    b: torch.Tensor  # (out_features, rank)


class Held:
    """Float32 LoRA weights that a restraint holds back; layers of one shape are computed together."""

    def __init__(self, masters: Mapping[str, torch.Tensor], restraint: Restraint, precision: torch.dtype) -> None:
        """Sort the weights by shape.

        Args:
            masters: by name, with gradients.
            precision: of products with the curvature, such as the model's own.
        """
        pairs = {
            name.partition(".lora_A.")[0]: _Pair(a, masters[name.replace(".lora_A.", ".lora_B.")])
            for name, a in masters.items()
            if ".lora_A." in name
        }
        kept_out = [(pairs[name].a, of.to(pairs[name].a.device)) for name, of in restraint.space.items()]
        self._kept_out = [
            ([a for a, _ in same], torch.stack([directions for _, directions in same]))
            for same in _by_shape(kept_out, lambda one: one)
        ]
        pulled = [(pairs[name], of, restraint.weights[name]) for name, of in restraint.curvature.items()]
        self._pulled = [_Pull(same, precision) for same in _by_shape(pulled, lambda one: one[0])]

    def keep_out(self) -> None:
        """Take out of every A what lies in the directions it is kept out of."""
        for masters, directions in self._kept_out:
            stacked = torch.stack(masters)
            torch._foreach_sub_(masters, list(((stacked @ directions) @ directions.mT).unbind()))

    def add_gradients(self) -> None:
        """Add the gradients of the divergence that the weights are likely to bring."""
        for pull in self._pulled:
            pull.add_gradients()


class _Pull:
    """The divergence of layers of one shape."""

    def __init__(self, layers: Sequence[tuple[_Pair, Factors, float]], precision: torch.dtype) -> None:
        self._a, self._b = [pair.a for pair, _, _ in layers], [pair.b for pair, _, _ in layers]
        device = self._a[0].device
        self._inputs = _stacked([of.inputs for _, of, _ in layers], device, precision)
        self._outputs = _stacked([of.outputs for _, of, _ in layers], device, precision)
        self._weights = torch.tensor([weight for _, _, weight in layers], device=device)[:, None, None]

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add w Bᵀ G B · A C to A's, w G B · A C Aᵀ to B's."""
        a, b = torch.stack(self._a), torch.stack(self._b)
        read = self._inputs.after(a)  # (L, rank, in_features)
        said = self._outputs.after(b.mT).mT * self._weights  # (L, out_features, rank)
        _add(self._a, (b.mT @ said) @ read)
        _add(self._b, said @ (read @ a.mT))


def _add(weights: Sequence[torch.Tensor], gradients: torch.Tensor) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        assert weight.grad is not None, "the optimizer makes them once"
        weight.grad += gradient


def _stacked(moments: Sequence[Moment], device: torch.device, precision: torch.dtype) -> Moment:
    directions, values, rest = (torch.stack(parts).to(device) for parts in zip(*moments, strict=True))
    return Moment(directions.to(precision), values, rest)


def _by_shape(found: Iterable[Any], tensors: Callable[[Any], Iterable[torch.Tensor]]) -> list[list[Any]]:
    groups: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for one in found:
        groups[tuple((of.device, of.shape) for of in tensors(one))].append(one)
    return list(groups.values())
