"""What a teacher said at some places, as a target for the student: its likeliest tokens, and its hidden states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from workers.trainer.vocabulary import buckets, log_partition

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
    everywhere = torch.arange(len(logits), device=logits.device)
    target = Target(at, ids, buckets(logits, everywhere, ids, log_partition(logits)), hidden)
    return target.to(torch.device("cpu"))


def distance(hidden: torch.Tensor, target: Target) -> torch.Tensor:
    """Return the (M,) mean over the layers of |student - teacher| / |teacher|, in the 1-norm of hidden states.

    Paper: Caccia et al. 2025 (Knowledge Modules, deep context distillation), https://arxiv.org/abs/2503.08727
    """
    assert target.hidden is not None
    teacher = target.hidden.float()  # (M, L, H)
    return ((hidden.float() - teacher).abs().sum(-1) / teacher.abs().sum(-1)).mean(-1)
