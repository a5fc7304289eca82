"""How a load beyond one adapter is cut into parts: contiguous by document, balanced by tokens, the same every time."""

import dataclasses
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from app.core.recipe import Recipe

_SLACK = 0.05  # of a part; so far may a cut lie from the even one where a document ends there
_SEEDS = 2**31


@dataclass(frozen=True)
class Part:
    """One of the adapters that a version is made of; counted from 1."""

    index: int = 1
    of: int = 1

    def seeded(self, recipe: Recipe) -> Recipe:
        """Return the recipe with a seed of this part's own."""
        return dataclasses.replace(recipe, seed=(recipe.seed + self.index - 1) % _SEEDS)


@dataclass(frozen=True)
class Piece:
    """What stays whole: a passage, or a question with its answer."""

    document: str
    tokens: int


def partition(pieces: Sequence[Piece], parts: int) -> list[int]:
    """Return the part, from 0, that each piece belongs to; there are fewer parts where there are fewer pieces.

    Documents follow each other in the order in which they first appear, and each part is a stretch of that. A stretch
    ends where its share of the tokens does, or at the end of a document that is hardly further.
    """
    places = {name: place for place, name in enumerate(dict.fromkeys(piece.document for piece in pieces))}
    order = sorted(range(len(pieces)), key=lambda number: places[pieces[number].document])
    cuts = list(_cuts([pieces[number] for number in order], min(parts, len(pieces))))
    found = [0] * len(pieces)
    for place, number in enumerate(order):
        found[number] = bisect_right(cuts, place)
    return found


def _cuts(pieces: Sequence[Piece], parts: int) -> Iterator[int]:
    """Yield the number of pieces before each cut; every part gets at least one."""
    ends = [0, *accumulate(piece.tokens for piece in pieces)]
    before = 0
    for number in range(1, parts):
        even = ends[-1] * number / parts
        fits = range(before + 1, len(pieces) - parts + number + 1)
        nearest = min(fits, key=lambda cut: abs(ends[cut] - even))
        whole = [
            cut
            for cut in fits
            if pieces[cut - 1].document != pieces[cut].document and abs(ends[cut] - even) <= _SLACK * ends[-1] / parts
        ]
        before = min(whole, key=lambda cut: abs(ends[cut] - even), default=nearest)
        yield before
