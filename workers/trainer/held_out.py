"""Held-out questions asked after each epoch: which weights answered them best, and when to stop waiting for better."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from workers.trainer.encode import Row
from workers.trainer.forward import answer_logprobs

RECALLED = math.log(0.5)  # what is likelier than this greedy decoding gives back


@dataclass(frozen=True, order=True)
class Standing:
    """How well held-out answers are known: the share recalled whole, then their mean log-probability per token."""

    recalled: float = -1.0
    logprob: float = -math.inf


class HeldOut:
    """Keeps the best weights of a training, and counts the epochs since."""

    def __init__(self, rows: Sequence[Row], patience: int) -> None:
        """Build one.

        Args:
            patience: how many epochs in a row may bring nothing better.
        """
        self._rows, self._patience = rows, patience
        self._best, self._since = Standing(), 0
        self._weights: list[torch.Tensor] = []

    @property
    def weights(self) -> list[torch.Tensor]:
        """The best weights so far; none before the first measurement."""
        return self._weights

    def measure(self, model: Any, weights: Sequence[torch.Tensor], pack_tokens: int) -> bool:
        """Measure after an epoch; say whether patience is at an end.

        Args:
            weights: what is kept if this is the best so far.
        """
        standing = stand(model, self._rows, pack_tokens)
        if standing > self._best:
            self._best, self._since = standing, 0
            self._weights = [weight.clone() for weight in weights]
        else:
            self._since += 1
        return self._since >= self._patience

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs."""
        best = (self._best.recalled, self._best.logprob)
        return {"best": best, "since": self._since, "weights": self._weights}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._best, self._since, self._weights = Standing(*state["best"]), state["since"], state["weights"]


def stand(model: Any, rows: Sequence[Row], pack_tokens: int) -> Standing:
    """Score answers as if all before each token had been said right."""
    answers = [logprobs for _, logprobs in answer_logprobs(model, rows, pack_tokens)]
    every = torch.cat(answers)
    return Standing(sum(one.min().item() > RECALLED for one in answers) / len(rows), every.mean().item())
