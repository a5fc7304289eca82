"""How well each row is known, which rest (the known, for one pass), and whether all that is taught is learned."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch

from app.core.recipe import Recipe
from workers.trainer.encode import Row
from workers.trainer.held_out import RECALLED


class _Shown(NamedTuple):
    """What was seen of a row: nats of its least likely token, nats of all its labels, and how many those are."""

    worst: float
    nats: float
    labels: int


class Rests:
    """Keeps of every taught row how well it was known when it was shown last. Replayed rows never rest.

    Paper: Jiang et al. 2019 (Selective-Backprop), https://arxiv.org/abs/1910.00762, section 3, skips rows at random,
    those more often that have a small loss; here one skips every other pass while its least likely token is above a
    bound.
    """

    def __init__(self, rows: Sequence[Row], recipe: Recipe, passes: float = math.inf) -> None:
        """Build one; a row is known if no token of its answer has anything left to learn by the recipe.

        Args:
            passes: how many there are at most; what has more wordings is judged by the one that was shown last.
        """
        self._rest, self._stop_loss = recipe.rest_above > 0, recipe.stop_loss
        self._most_nats = -math.log(min(recipe.rest_above or 1.0, recipe.focus_below or 1.0))
        self._places = {id(row): place for place, row in enumerate(rows)}
        things = enumerate(zip(rows, _things(rows, passes), strict=True))
        self._taught = {place: thing for place, (row, thing) in things if not row.replayed}
        self._coming = {thing for place, thing in self._taught.items() if rows[place].turn < passes}
        self._seen: dict[int, _Shown] = {}  # by thing
        self._resting: set[int] = set()

    def shown(self, rows: Sequence[Row]) -> list[Row]:
        """Return those of a pass's rows that do not rest in it."""
        return [row for row in rows if self._places[id(row)] not in self._resting]

    def note(self, rows: Sequence[Row], nats: torch.Tensor) -> None:
        """Look at rows just shown.

        Args:
            nats: (S,) of their labels, row after row.
        """
        told: dict[int, list[torch.Tensor]] = {}
        for row, answer in zip(rows, nats.split([len(row) - row.answer_start for row in rows]), strict=True):
            place = self._places[id(row)]
            if place in self._taught:
                told.setdefault(self._taught[place], []).append(answer[row.asking :])
        for thing, answers in told.items():
            every = torch.cat(answers)
            self._seen[thing] = _Shown(every.max().item(), every.sum().item(), len(every))

    def end_pass(self) -> None:
        """Let those that are known rest, but for those that have just rested."""
        known = {place for place, seen in self._seen.items() if seen.worst < self._most_nats}
        self._resting = known - self._resting if self._rest else set()

    def mean_loss(self) -> float:
        """Return the mean loss, in nats per token, of all that is taught, as it was shown last; inf before it was."""
        if not self._taught or len(self._seen) < len(self._coming):
            return math.inf
        seen = self._seen.values()
        return sum(one.nats for one in seen) / sum(one.labels for one in seen)

    def are_learned(self) -> bool:
        """Say whether every taught row was known when it was shown last; or recalled, with a small mean loss."""
        mean = self.mean_loss()
        if math.isinf(mean):
            return False
        worst = max(one.worst for one in self._seen.values())
        return worst < self._most_nats or (worst < -RECALLED and mean < self._stop_loss)

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs."""
        return {"seen": {place: tuple(seen) for place, seen in self._seen.items()}, "resting": sorted(self._resting)}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, over the same rows."""
        self._seen = {place: _Shown(*seen) for place, seen in state["seen"].items()}
        self._resting = set(state["resting"])


def _things(rows: Sequence[Row], passes: float) -> list[int]:
    """Return by which place each row is judged: its own, or that of the first of its wordings, which are in a row."""
    found: list[int] = []
    for place, (before, row) in enumerate(pairwise([*rows[:1], *rows])):
        goes_on = passes < row.turns == before.turns and before.turn < row.turn
        found.append(found[-1] if goes_on else place)
    return found
