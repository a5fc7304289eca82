"""Several LoRA updates made into one: pure functions of the factors of one module.

An update is `B @ A`. `cat` adds updates up exactly: rows of A above each other, columns of B beside each other. The
others work on the factors as PEFT's `add_weighted_adapter` does: `linear` is the sum of the A's times the sum of the
B's, which holds every product of one member's B with another's A as well. It costs no rank and is no weighted sum of
updates, unless the members began from the same A. Where PEFT refuses members of unequal rank, zeros fill them up; a
module that a member does not have is an update of zeros.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.core.composition import Method


@dataclass(frozen=True)
class Factors:
    """One module's update: `a` is (rank, in), `b` is (out, rank), both float32."""

    a: Tensor
    b: Tensor

    @property
    def rank(self) -> int:
        """Number of rows of `a`."""
        return int(self.a.shape[0])

    @property
    def squared_norm(self) -> float:
        """The update's squared Frobenius norm, without the update: tr(AᵀBᵀBA) is the sum over (BᵀB) * (AAᵀ)."""
        return float(((self.b.T @ self.b) * (self.a @ self.a.T)).sum())


@dataclass(frozen=True)
class Plan:
    """How to merge; `seed` fixes what `dare` drops."""

    method: Method
    density: float = 1.0
    seed: int = 0


def merge(members: Sequence[Factors], weights: Sequence[float], plan: Plan) -> Factors:
    """Merge what the members have for one module.

    Args:
        weights: what each member's update is multiplied by, its own alpha/rank included.
    """
    if plan.method == "cat":
        rows = [weight * one.a for one, weight in zip(members, weights, strict=True)]
        return Factors(torch.cat(rows), torch.cat([one.b for one in members], dim=1))
    rank = max(one.rank for one in members)
    a = torch.stack([_wider(one.a, 0, rank) for one in members])  # (member, rank, in)
    b = torch.stack([_wider(one.b, 1, rank) for one in members])  # (member, out, rank)
    # a weight is shared by the two factors; its sign goes to one of them
    scale = torch.tensor([math.sqrt(abs(weight)) for weight in weights])[:, None, None]
    sign = torch.tensor([math.copysign(1.0, weight) for weight in weights])[:, None, None]
    if plan.method == "ties":
        return Factors(_ties(a, scale * sign, plan.density), _ties(b, scale, plan.density))
    if plan.method == "dare":
        generator = torch.Generator().manual_seed(plan.seed)
        a, b = _drop(a, plan.density, generator), _drop(b, plan.density, generator)
    return Factors((scale * sign * a).sum(0), (scale * b).sum(0))


def compress(factors: Factors, rank: int) -> tuple[Factors, float]:
    """Return the best update of a smaller rank, and the squared Frobenius norm of what it lost.

    The singular values of `B @ A` are those of the small matrix between the two QR factors, so that the full update
    is never formed. Each side gets the root of them: the factors stay of like size, which bfloat16 wants.
    """
    outer, right = torch.linalg.qr(factors.b)  # (out, k), (k, rank); k = min(out, rank)
    inner, left = torch.linalg.qr(factors.a.T)  # (in, l), (l, rank)
    u, values, v = torch.linalg.svd(right @ left.T, full_matrices=False)
    root = values[:rank].sqrt()
    small = Factors(
        (root[:, None] * v[:rank] @ inner.T).contiguous(), (outer @ u[:, :rank] * root[None, :]).contiguous()
    )
    return small, float(values[rank:].double().square().sum())


def _ties(stacked: Tensor, weights: Tensor, density: float) -> Tensor:
    """Keep each member's largest values, elect a sign by their sum, average those that have it.

    Yadav et al. 2023 (TIES-Merging, section 3), https://arxiv.org/abs/2306.01708, in the order that PEFT has: weights
    come in after the election.
    """
    trimmed = torch.stack([_largest(one, density) for one in stacked])
    elected = torch.where(trimmed.sum(0) >= 0, 1, -1)
    agrees = trimmed.sign() == elected
    return (trimmed * weights * agrees).sum(0) / agrees.sum(0).clamp(min=1)


def _largest(values: Tensor, density: float) -> Tensor:
    kept = values.abs().flatten().topk(int(density * values.numel())).indices
    mask = torch.zeros(values.numel()).index_fill(0, kept, 1.0)
    return values * mask.reshape(values.shape)


def _drop(stacked: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Drop values at random and scale up the rest, so that each keeps its expectation.

    Yu et al. 2024 (DARE, section 3), https://arxiv.org/abs/2311.03099
    """
    return stacked * (torch.rand(stacked.shape, generator=generator) < density) / density


def _wider(factor: Tensor, dim: int, rank: int) -> Tensor:
    missing = rank - factor.shape[dim]
    return torch.nn.functional.pad(factor, (0, missing) if dim else (0, 0, 0, missing))
