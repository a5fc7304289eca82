"""How far a LoRA is likely to move what the base model says of general inputs, and which way to less of it.

To second order the divergence from the base model is a quadratic form of what changes, whose matrix is Fisher's. The
base model reads general rows once, with its own answers to the shipped prompts, and of each layer two second moments
are kept: C of its inputs and G of the derivatives, by its outputs, of the log-probability of what the base model could
say. For a layer that a LoRA changes by s B A the divergence is then about

    s² / 2 · tr(Bᵀ G B · A C Aᵀ)

in nats a label, and layers are taken for independent, as in K-FAC. Both moments are kept as the directions that hold
most of them, and one figure for all others.

Paper: Martens and Grosse 2015 (K-FAC), https://arxiv.org/abs/1503.05671, section 3; Ritter et al. 2018 (Kronecker
factors against forgetting), https://arxiv.org/abs/1805.07810, section 3. Deviation: the point kept near to is the base
model, whatever was trained before.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from workers.trainer.batches import Pack
from workers.trainer.encode import Row
from workers.trainer.forward import label_logits
from workers.trainer.model import lora_layers
from workers.trainer.moments import Moments, by_layer, main_directions, read, rows_digest
from workers.trainer.replay import REPLAY_FOLDER
from workers.trainer.vocabulary import drawn_derivatives

MOST_DIRECTIONS = 256  # of a moment


class Moment(NamedTuple):
    """A second moment: U diag(values) Uᵀ + rest (I - U Uᵀ).

    Attributes:
        directions: U, (width, K), orthonormal.
        values: (K,) the moment along these.
        rest: () along all others.
    """

    directions: torch.Tensor
    values: torch.Tensor
    rest: torch.Tensor

    def after(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows, (…, N, width), times the moment, computed in the directions' precision.

        Leading dimensions are those of a stack of moments.
        """
        precision = self.directions.dtype
        along = rows.to(precision) @ self.directions * (self.values - self.rest[..., None]).unsqueeze(-2).to(precision)
        return (along @ self.directions.mT).to(rows.dtype) + self.rest[..., None, None] * rows


class Factors(NamedTuple):
    """C and G of one layer."""

    inputs: Moment
    outputs: Moment


Curvature = Mapping[str, Factors]  # by a LoRA layer's name


def curvature(
    model: Any,
    rows: Sequence[Row],
    home: Path,
    base_digest: str,
    *,
    on_read: Callable[[int, int], None] | None = None,
) -> Curvature:
    """Return the factors of the layers that carry the LoRA, from where they are kept, or found and kept.

    Args:
        model: from `attach_lora`; every LoRA on it is off meanwhile.
        rows: what is general, with answers; what they are is part of the name of the file that is kept.
        on_read: told how many of the rows are read, and how many there are.
    """
    file = home / REPLAY_FOLDER / f"curvature-{base_digest[:16]}-{rows_digest(rows)}.pt"
    found = by_layer(model, file, partial(_found, model, rows, on_read), outputs=True)
    return {name: Factors(Moment(*parts[:3]), Moment(*parts[3:])) for name, parts in found.items()}


def _found(
    model: Any, rows: Sequence[Row], on_read: Callable[[int, int], None] | None, names: Collection[str]
) -> dict[str, tuple[torch.Tensor, ...]]:
    listened = [(name, layer) for name, layer in lora_layers(model) if name in names]
    inputs = Moments({name: layer.in_features for name, layer in listened})
    outputs = Moments({name: layer.out_features for name, layer in listened})
    hooks, labels = [], sum(len(row) - row.answer_start for row in rows)
    for name, layer in listened:
        hooks.append(layer.register_forward_pre_hook(inputs.of_inputs(name)))
        hooks.append(layer.register_forward_hook(outputs.of_derivatives(name)))
    read(model, rows, hooks, partial(_say, model, torch.Generator().manual_seed(0)), on_read)
    return {
        name: (*_moment(inputs.sums[name], labels), *_moment(outputs.sums[name], max(1, outputs.tokens[name])))
        for name in names
    }


def _say(model: Any, generator: torch.Generator, batch: Pack) -> None:
    """Go back from tokens that the model could say in the labels' places.

    The labels themselves are the likeliest, of which the derivatives are too small.
    """
    logits, _ = label_logits(model, batch)
    logits.backward(drawn_derivatives(logits.detach(), generator))


def _moment(total: torch.Tensor, count: int) -> Moment:
    values, directions = main_directions(total, MOST_DIRECTIONS)
    others = len(total) - len(values)
    rest = (total.trace() - values.sum()).clamp(min=0) / max(1, others)
    return Moment(directions.bfloat16().cpu().contiguous(), (values / count).cpu(), (rest / count).cpu())
