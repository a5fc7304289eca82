"""What each label of a pack adds to the gradient: next-token loss, a teacher's distribution, and neither for some."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from app.core.recipe import Recipe
from workers.trainer.batches import Pack
from workers.trainer.forward import label_logits
from workers.trainer.targets import Target, distance
from workers.trainer.vocabulary import Outcomes, label_nats, label_nats_and_divergences


@dataclass(frozen=True)
class Losses:
    """Of a pack's S labels.

    Attributes:
        descend: (S,) what the gradient is of; 0 where nothing is learned.
        nats: (S,) negative log-probabilities, detached; the same whatever is descended.
        learned: (S,) whether a label has a gradient.
    """

    descend: torch.Tensor
    nats: torch.Tensor
    learned: torch.Tensor


def losses(model: Any, batch: Pack, recipe: Recipe) -> Losses:
    """Score a pack.

    Paper: Xu et al. 2026 (parametric memory law, MemFT), https://arxiv.org/abs/2605.30260, for `focus_below`: greedy
    decoding recalls what is more likely than 0.5. What is replayed is learned at any probability.
    """
    hidden = batch.target is not None and batch.target.hidden is not None
    logits, states = label_logits(model, batch, hidden=hidden)
    labels, taught = batch.labels.to(logits.device), batch.taught.to(logits.device)
    if batch.target is None:
        descend = label_nats(logits, labels)
        nats = descend.detach()
    else:
        target = batch.target.to(logits.device)
        own, apart = label_nats_and_divergences(logits, labels, Outcomes(target.at, target.ids, target.logprobs))
        descend, nats = _taught(own, apart, states, target, taught=taught, recipe=recipe), own.detach()
    if not recipe.focus_below:
        return Losses(descend, nats, torch.ones_like(taught))
    learned = (nats > -math.log(recipe.focus_below)) | ~taught
    return Losses(torch.where(learned, descend, 0.0), nats, learned)


def _taught(
    nats: torch.Tensor,
    divergences: torch.Tensor,
    states: torch.Tensor | None,
    target: Target,
    *,
    taught: torch.Tensor,
    recipe: Recipe,
) -> torch.Tensor:
    """Mix a teacher's loss into the (S,) labels' own where the teacher has one; it is all that replayed ones learn."""
    own, learns = nats[target.at], taught[target.at]  # (M,)
    mixed, replayed = recipe.distillation * (divergences - own), recipe.replay_weight * divergences - own
    change = torch.where(learns, mixed, replayed)  # (M,)
    if states is not None:
        change = change + recipe.hidden_weight * distance(states[target.at], target)
    return nats.index_add(0, target.at, change)
