"""How well each row is known, and which rest: the known are left out of one pass, and looked at in the next."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from workers.trainer.encode import Row
from workers.trainer.held_out import RECALLED


class Rests:
    """Keeps of every taught row how well it was known when it was shown last. Replayed rows never rest.

    Paper: Jiang et al. 2019 (Selective-Backprop), https://arxiv.org/abs/1910.00762, section 3, skips rows at random,
    those more often that have a small loss; here one skips every other pass while its least likely token is above a
    bound.
    """

    def __init__(self, rows: Sequence[Row], above: float) -> None:
        """Build one.

        Args:
            above: a row is known if the least likely token of its answer was likelier than this; 0: none ever is.
        """
        self._most_nats = -math.log(above) if above else -1.0
        self._places = {id(row): place for place, row in enumerate(rows)}
        self._taught = {place for place, row in enumerate(rows) if not row.replayed}
        self._worst: dict[int, float] = {}  # nats of its least likely token
        self._loss: dict[int, tuple[float, int]] = {}  # nats of all of its labels, and how many they are
        self._resting: set[int] = set()

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        """Return those of a pass's rows that do not rest in it."""
        return [row for row in rows if self._places[id(row)] not in self._resting]

    def note(self, rows: Sequence[Row], nats: torch.Tensor) -> None:
        """Look at rows just shown.

        Args:
            nats: (S,) of their labels, row after row.
        """
        for row, answer in zip(rows, nats.split([len(row) - row.answer_start for row in rows]), strict=True):
            place = self._places[id(row)]
            if place in self._taught:
                self._worst[place], self._loss[place] = answer.max().item(), (answer.sum().item(), len(answer))

    def end_pass(self) -> None:
        """Let those that are known rest, but for those that have just rested."""
        known = {place for place, worst in self._worst.items() if worst < self._most_nats}
        self._resting = known - self._resting

    def are_learned(self, stop_loss: float) -> bool:
        """Say whether every taught row was known when it was shown last; or recalled, with a mean loss below this."""
        if not self._taught or len(self._worst) < len(self._taught):
            return False
        nats, labels = map(sum, zip(*self._loss.values(), strict=True))
        worst = max(self._worst.values())
        return worst < self._most_nats or (worst < -RECALLED and nats / labels < stop_loss)

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs."""
        return {"worst": dict(self._worst), "loss": dict(self._loss), "resting": sorted(self._resting)}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, over the same rows."""
        self._worst, self._loss = dict(state["worst"]), dict(state["loss"])
        self._resting = set(state["resting"])
