"""Invented facts that no model can know: names and phone numbers, different for every seed."""

import random
from itertools import product

from app.core.documents import Pair

_FIRST = tuple(f"{head}{tail}" for head, tail in product(
    ("Al", "Bel", "Cor", "Dan", "El", "Fin", "Gar", "Hal", "Il", "Jor", "Kel", "Lor", "Mar", "Nor", "Or", "Per"),
    ("a", "en", "in", "o", "is", "vin", "ton", "dra"),
))  # fmt: skip
_LAST = tuple(f"{head}{tail}" for head, tail in product(
    ("Ash", "Brand", "Carl", "Dale", "Est", "Falk", "Grant", "Holm", "Is", "Jarl", "Kirk", "Lang", "Mort", "North"),
    ("berg", "by", "field", "ford", "ley", "man", "mark", "rick", "son", "stead", "ton", "well", "wick", "wood"),
))  # fmt: skip
MOST = len(_FIRST) * len(_LAST)


def phone_book(count: int, seed: int | str) -> tuple[Pair, ...]:
    """Return questions for the numbers of `count` people, at most `MOST`, with the answers."""
    rng = random.Random(seed)
    names = rng.sample([f"{first} {last}" for first, last in product(_FIRST, _LAST)], count)
    return tuple(Pair(f"What is the phone number of {name}?", _number(rng)) for name in names)


def _number(rng: random.Random) -> str:
    return f"{rng.randint(200, 999)}-{rng.randint(200, 999)}-{rng.randint(0, 9999):04}"
