"""What a teacher said at some places, as a target for the student: its likeliest tokens, and its hidden states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

TOP_K = 20


@dataclass(frozen=True)
class Target:
    """A teacher's word on M labels.

    Attributes:
        at: (M,) the labels' places: in a row, of the tokens themselves; in a pack, among its labels.
        ids: (M, K) the teacher's likeliest tokens.
        logprobs: (M, K + 1) their log-probabilities in nats, and that of all other tokens together.
        hidden: (M, L, H) its hidden states there, or None.
    """

    at: torch.Tensor
    ids: torch.Tensor
    logprobs: torch.Tensor
    hidden: torch.Tensor | None = None

    def __getitem__(self, which: torch.Tensor) -> Self:
        """Keep some of the labels: a boolean (M,) mask or indices."""
        hidden = None if self.hidden is None else self.hidden[which]
        return type(self)(self.at[which], self.ids[which], self.logprobs[which], hidden)

    def to(self, device: torch.device) -> Self:
        """Return the same on a device."""
        hidden = None if self.hidden is None else self.hidden.to(device)
        return type(self)(self.at.to(device), self.ids.to(device), self.logprobs.to(device), hidden)


def join(targets: Sequence[Target], at: Sequence[torch.Tensor]) -> Target:
    """Put targets one after another, at new places."""
    hidden = [one.hidden for one in targets if one.hidden is not None]
    return Target(
        at=torch.cat(list(at)),
        ids=torch.cat([one.ids for one in targets]),
        logprobs=torch.cat([one.logprobs for one in targets]),
        hidden=torch.cat(hidden) if hidden else None,
    )


def read(logits: torch.Tensor, at: torch.Tensor, hidden: torch.Tensor | None = None) -> Target:
    """Make a target of a teacher's (M, V) logits, on the CPU."""
    ids = logits.topk(min(TOP_K, logits.shape[-1] - 1)).indices
    target = Target(at, ids, _buckets(logits, ids), hidden)
    return target.to(torch.device("cpu"))


def divergence(logits: torch.Tensor, target: Target) -> torch.Tensor:
    """Return the (M,) Kullback-Leibler divergences, in nats, of a student's (M, V) logits from the teacher's.

    Over the teacher's K likeliest tokens and one more outcome for all others, so that both sum to 1.

    Paper: Eyuboglu et al. 2025 (Cartridges), https://arxiv.org/abs/2506.06266, with its top 20 tokens;
    the outcome for all others is ours.
    """
    return (target.logprobs.exp() * (target.logprobs - _buckets(logits, target.ids))).sum(-1)


def distance(hidden: torch.Tensor, target: Target) -> torch.Tensor:
    """Return the (M,) mean over the layers of |student - teacher| / |teacher|, in the 1-norm of hidden states.

    Paper: Caccia et al. 2025 (Knowledge Modules, deep context distillation), https://arxiv.org/abs/2503.08727
    """
    assert target.hidden is not None
    teacher = target.hidden.float()  # (M, L, H)
    return ((hidden.float() - teacher).abs().sum(-1) / teacher.abs().sum(-1)).mean(-1)


def _buckets(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return the (M, K + 1) log-probabilities of K tokens and of all others together."""
    logits = logits.float()
    others = logits.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)  # not 1 minus the rest: that cancels
    return torch.cat([logits.gather(-1, ids), others], -1) - logits.logsumexp(-1, keepdim=True)
