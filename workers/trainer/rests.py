"""Which rows rest: one that is known well is left out of the next pass, and looked at again in the one after."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from workers.trainer.encode import Row


class Rests:
    """Keeps of every taught row whether it was known when it was shown last. Replayed rows never rest.

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
        self._known: set[int] = set()
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
            is_known = place in self._taught and answer.max().item() < self._most_nats
            (self._known.add if is_known else self._known.discard)(place)

    def end_pass(self) -> None:
        """Let those that are known rest, but for those that have just rested."""
        self._resting = self._known - self._resting

    @property
    def has_resting(self) -> bool:
        """Say whether a row rests in the pass under way."""
        return bool(self._resting)

    @property
    def all_known(self) -> bool:
        """Say whether every taught row was known when it was shown last."""
        return bool(self._taught) and self._known == self._taught

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs."""
        return {"known": sorted(self._known), "resting": sorted(self._resting)}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, over the same rows."""
        self._known, self._resting = set(state["known"]), set(state["resting"])
