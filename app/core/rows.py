"""Rows of tables as sentences, `label: value; label: value.`: how they are written, and read back."""

import re
from collections.abc import Iterable

_LABEL = r"[^:;\n]{1,40}"
_CELL = re.compile(rf"({_LABEL}): (\S.*)")
_BETWEEN = re.compile(rf"; (?={_LABEL}: )")


def row_of(cells: Iterable[tuple[str, str]]) -> str:
    """Write a row; a cell with no value is left out. A single cell is a label with its value, and no sentence."""
    told = [f"{label}: {value}" for label, value in cells if value]
    return "; ".join(told).removesuffix(".") + "." if len(told) > 1 else "".join(told)


def cells_of(sentence: str) -> list[tuple[str, str]]:
    """Return the cells of a row, label and value; none where a sentence is no row, or one of a single cell."""
    found = [_CELL.fullmatch(cell) for cell in _BETWEEN.split(sentence.removesuffix("."))]
    is_row = len(found) > 1 and sentence.endswith(".")
    return [(one[1], one[2]) for one in found if one] if is_row and all(found) else []
