"""Rows of tables as sentences, `label: value; label: value.`: how they are written, and read back."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

LONGEST = 400  # characters; what is longer is cut as prose is
_LABEL = r"[^:;\n]{1,80}"
_CELL = re.compile(rf"({_LABEL}): (\S.*)")
_BETWEEN = re.compile(rf"; (?={_LABEL}: )")
_NAMELESS = "#"


def rows_of(cells: Iterable[tuple[str, str]]) -> list[str]:
    """Write a row; a cell with no value is left out. A single cell is a label with its value, and no sentence.

    A row that gets too long is several, each with the first cell. Labels that are there twice are numbered.
    """
    told = [f"{label}: {_flat(value)}" for label, value in _named(cells) if value]
    return ["; ".join(run).removesuffix(".") + "." if len(run) > 1 else run[0] for run in _runs(told)]


def cells_of(sentence: str) -> list[tuple[str, str]]:
    """Return the cells of a row, label and value; none where a sentence is no row, or one of a single cell."""
    if not sentence.endswith(".") or len(sentence) > LONGEST:
        return []
    found = [_CELL.fullmatch(cell) for cell in _BETWEEN.split(sentence.removesuffix("."))]
    return [(one[1], one[2]) for one in found if one] if len(found) > 1 and all(found) else []


def _named(cells: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the cells with labels that can be read back, each its own."""
    seen: Counter[str] = Counter()
    for label, value in cells:
        name = " ".join(label.replace(";", ",").replace(": ", " ").split()).rstrip(" :：") or _NAMELESS
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} {seen[name]}", value


def _flat(value: str) -> str:
    """Return a value in one line where it is short, with nothing in it that looks like the next cell."""
    return _BETWEEN.sub(", ", " ".join(value.split()) if len(value) < LONGEST / 2 else value)


def _runs(told: list[str]) -> Iterator[list[str]]:
    run: list[str] = []
    for cell in told:
        if len(run) > 1 and sum(map(len, run)) + 2 * len(run) + len(cell) >= LONGEST:
            yield run
            run = run[:1]
        run.append(cell)
    if run:
        yield run
