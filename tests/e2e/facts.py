"""Invented facts, different for every seed."""

import csv
import io
import random

FIRST = ["Ada", "Bela", "Cyra", "Dov", "Elin", "Fabe", "Gyra", "Hanno", "Ilka", "Jorun", "Kesh", "Lumi", "Maro", "Nyla"]
LAST = ["Abbring", "Brandeis", "Corvane", "Dalmeyer", "Estrup", "Falkner", "Gristed", "Holmvik", "Ismay", "Jurgell"]


def phone_book(count: int, seed: int) -> dict[str, str]:
    """Return question -> number for `count` invented people."""
    rng = random.Random(seed)
    names = rng.sample([f"{first} {last}" for first in FIRST for last in LAST], count)
    numbers = [f"{rng.randint(100, 999)}-{rng.randint(100, 999)}-{rng.randint(0, 9999):04}" for _ in names]
    return {f"What is the phone number of {name}?": number for name, number in zip(names, numbers, strict=True)}


SMALL = {f"book {letter}": phone_book(8, seed=seed) for seed, letter in enumerate("ab", start=10)}


def to_csv(pairs: dict[str, str]) -> bytes:
    """Return the pairs as the csv a user uploads."""
    text = io.StringIO()
    csv.writer(text).writerows([("question", "answer"), *pairs.items()])
    return text.getvalue().encode()
