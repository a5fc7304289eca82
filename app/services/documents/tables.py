"""Tables of markdown, as files of all kinds are read into it, with each row told by the labels of its columns."""

import re
from collections.abc import Sequence
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from app.core.rows import row_of

_RULE = re.compile(r"^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\||$)", re.MULTILINE)  # below a header
_LONGEST = 60  # characters of a value that stands beside its label
_PARSER = MarkdownIt("zero").enable(["table", "fence"])


def with_rows(text: str) -> str:
    """Write each row of a table as a paragraph, `label: value; label: value.`.

    A file that does not say which of its rows is the header has one where only the others have numbers in a column. A
    table of two columns without any is a list of labels with values. Others stay as they are.
    """
    if not _RULE.search(text) or "|" not in text:
        return text
    lines = text.split("\n")
    told: list[str] = []
    end = 0
    for place, table in _tables(_PARSER.parse(text)):
        if rows := _rows(table):
            told += ["\n".join(lines[end : place[0]]).strip("\n"), *rows]
            end = place[1]
    return "\n\n".join(filter(None, [*told, "\n".join(lines[end:]).strip("\n")])) if told else text


def _tables(tokens: Sequence[Token]) -> list[tuple[list[int], list[list[str]]]]:
    """Return the lines of each table, from and to, and its rows of cells."""
    found: list[tuple[list[int], list[list[str]]]] = []
    for token, inside in pairwise(tokens):
        if token.type == "table_open":
            found.append((token.map or [0, 0], []))
        elif token.type == "tr_open":
            found[-1][1].append([])
        elif token.type in {"th_open", "td_open"}:
            found[-1][1][-1].append(" ".join(inside.content.split()))
    return found


def _rows(table: Sequence[Sequence[str]]) -> list[str]:
    header, *rows = table
    rows = [row for row in rows if any(row)]
    if not any(header) and len(rows) > 1 and _heads(rows[0], rows[1:]):
        header, *rows = rows
    if not any(header) and len(header) == 2 and all(label and len(value) <= _LONGEST for label, value in rows):
        return [row_of([(label, value)]) for label, value in rows if value]
    used = zip(*rows, strict=True)
    if not all(label or not any(column) for label, column in zip(header, used, strict=False)):
        return []
    return [row_of(zip(header, row, strict=True)) for row in rows]


def _heads(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Say whether a row labels the others: no cell is empty or has a digit, and all others have one in a column."""
    columns = zip(*rows, strict=True)
    return all(cell and not _has_digit(cell) for cell in first) and any(all(map(_has_digit, one)) for one in columns)


def _has_digit(cell: str) -> bool:
    return any(char.isdigit() for char in cell)
