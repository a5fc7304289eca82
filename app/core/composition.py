"""What a composite is made of, and the name that every gateway and engine gives it before it is built.

All four methods are symmetric in their members, so members are kept in the order of their names: the same memories
with the same weights are the same composite, however they were listed.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, get_args

from app.core.errors import InvalidValue
from app.core.names import AdapterName

Method = Literal["linear", "cat", "ties", "dare"]
Learned = Literal["learned"]
METHODS: Final = get_args(Method)
SPARSE: Final = frozenset({"ties", "dare"})  # they drop values, and so have a density
AVERAGED: Final = frozenset({"linear", "dare"})  # their weights add up to 1 where none are given
LEARNED: Final = "learned"
MOST_MEMBERS = 8
MOST_WEIGHT = 100.0
MOST_RANK = 512  # vLLM's largest
DENSITY = 0.5
_FORMAT = 1  # rises when the same recipe makes other weights: old composites are then other adapters
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Composition:
    """A recipe of one composite; made by `of`.

    Attributes:
        members: adapters of one tenant, in the order of their names.
        weights: one for each member, or `learned` where the engine finds them.
        density: share of the values that `ties` and `dare` keep; None for the others.
        max_rank: what the composite is compressed to; None where only the engine's own limit counts.
    """

    method: Method
    members: tuple[AdapterName, ...]
    weights: tuple[float, ...] | Learned
    density: float | None = None
    max_rank: int | None = None

    @classmethod
    def of(
        cls,
        method: str,
        members: Sequence[AdapterName],
        *,
        weights: Sequence[float] | Learned | None = None,
        density: float | None = None,
        max_rank: int | None = None,
    ) -> Self:
        """Check a recipe, fill in what it leaves open, and bring it into its one form.

        Raises:
            InvalidValue: the text says what is not allowed.
        """
        if method not in METHODS:
            raise InvalidValue(f"There is no method {str(method)[:40]!r}: use {', '.join(METHODS)}.")
        _check_members(members)
        density = _checked_density(method, density)
        if max_rank is not None and not 1 <= max_rank <= MOST_RANK:
            raise InvalidValue(f"max_rank is a whole number from 1 to {MOST_RANK}.")
        if weights == LEARNED:
            return cls(method, tuple(sorted(members, key=str)), LEARNED, density, max_rank)  # type: ignore[arg-type]
        given = [_default_weight(method, len(members))] * len(members) if weights is None else weights
        pairs = sorted(zip(members, _checked_weights(given, len(members)), strict=True), key=lambda pair: str(pair[0]))
        ordered, kept = (tuple(part) for part in zip(*pairs, strict=True))
        return cls(method, ordered, kept, density, max_rank)  # type: ignore[arg-type]

    @classmethod
    def sum_of(cls, members: Sequence[AdapterName]) -> Self:
        """Return the recipe whose update is exactly the members' own, added up; raises what `of` does."""
        return cls.of("cat", members, weights=[math.sqrt(len(members))] * len(members))  # `cat` divides by that

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read the JSON form back; raises what `of` does."""
        members = [AdapterName.parse(text) for text in fields["members"]]
        return cls.of(members=members, **{name: value for name, value in fields.items() if name != "members"})

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready fields."""
        weights = LEARNED if self.weights == LEARNED else list(self.weights)
        return {**vars(self), "members": list(map(str, self.members)), "weights": weights}

    @property
    def name(self) -> AdapterName:
        """What engines call the composite: a function of the recipe alone."""
        text = json.dumps([_FORMAT, self.to_dict()], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return AdapterName(self.members[0].tenant, f"cmp_{_base36(int(digest, 16), 26)}", 1, digest[-12:])

    def scales(self, weights: Sequence[float]) -> tuple[float, ...]:
        """Return what each member's own update is multiplied by.

        Concatenation adds the updates up; its fault is scale, which 1/sqrt(N) repairs (2603.01097, Q10).
        """
        by = math.sqrt(len(self.members)) if self.method == "cat" else 1.0
        return tuple(weight / by for weight in weights)


def _check_members(members: Sequence[AdapterName]) -> None:
    if not 1 <= len(members) <= MOST_MEMBERS:
        raise InvalidValue(f"A composite has 1 to {MOST_MEMBERS} members, not {len(members)}.")
    if len({member.tenant for member in members}) != 1:
        raise InvalidValue("The members of a composite belong to one tenant.")
    versions = {(member.owner, member.version) for member in members}
    if len(set(members)) != len(members) or len({owner for owner, _ in versions}) != len(versions):
        raise InvalidValue("A composite names each of its members once, and of each memory one version.")
    if any(member.is_composite for member in members):
        raise InvalidValue("A composite is made of memories, not of other composites.")


def _checked_density(method: str, density: float | None) -> float | None:
    if method not in SPARSE:
        if density is not None:
            raise InvalidValue(f"Method {method} keeps every value: leave density out.")
        return None
    if density is None:
        return DENSITY
    if not 0 < density <= 1:  # false for NaN too
        raise InvalidValue("density is above 0 and at most 1.")
    return float(density)


def _checked_weights(weights: Sequence[float], count: int) -> list[float]:
    if len(weights) != count:
        raise InvalidValue(f"There are {count} members and {len(weights)} weights: give one for each.")
    if not all(math.isfinite(weight) and abs(weight) <= MOST_WEIGHT for weight in weights):
        raise InvalidValue(f"A weight is a number from -{MOST_WEIGHT:.0f} to {MOST_WEIGHT:.0f}.")
    if not any(weights):
        raise InvalidValue("Every weight is 0: the composite would be the base model.")
    return [float(weight) + 0.0 for weight in weights]  # -0.0 becomes 0.0


def _default_weight(method: str, count: int) -> float:
    return 1 / count if method in AVERAGED else 1.0


def _base36(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(digits)
