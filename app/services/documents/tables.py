"""Tables of markdown, as files of all kinds are read into it, with each row told by the labels of its columns."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from app.core.rows import rows_of

_RULE = re.compile(r"^[ \t>]*\|?[ \t]*:?-+:?[ \t]*(?:\||$)", re.MULTILINE)  # below a header
_YEAR = re.compile(r"\d{4}")
_LONGEST = 60  # characters of a value that stands beside its label
_PARSER = MarkdownIt("zero").enable(["table", "fence", "heading", "list", "blockquote", "hr"])


@dataclass
class _Table:
    """A table: where its lines begin and end, and its rows of cells, the header first."""

    begin: int
    end: int
    rows: list[list[str]] = field(default_factory=list)


def with_rows(text: str) -> str:
    """Write each row of a table as a paragraph, `label: value; label: value.`.

    A table of two columns without a header is a list of labels with values; so is one whose header has a number in the
    second. A wider one has a header where only the other rows have numbers in a column. What has no labels, or cells
    beyond them, stays as it is.
    """
    if "|" not in text or not _RULE.search(text):
        return text
    lines = text.split("\n")
    told: list[str] = []
    end = 0
    for table in _tables(_PARSER.parse(text), lines):
        rows = list(chain(*map(rows_of, _cells(table.rows)))) if _is_whole(table, lines) else []
        if rows:
            told += ["\n".join(lines[end : table.begin]).strip("\n"), *rows]
            end = table.end
    return "\n\n".join(filter(None, [*told, "\n".join(lines[end:]).strip("\n")])) if told else text


def _tables(tokens: Sequence[Token], lines: Sequence[str]) -> list[_Table]:
    """Return the tables; a line without a bar ends one."""
    found: list[_Table] = []
    is_open = False
    for token, inside in pairwise(tokens):
        begin, end = token.map or (0, 0)
        if token.type == "table_open":
            found.append(_Table(begin, begin + 2))
            is_open = True
        elif token.type == "tr_open":
            is_open = is_open and "|" in lines[begin]
            if is_open:
                found[-1].rows.append([])
                found[-1].end = max(found[-1].end, end)
        elif is_open and token.type in {"th_open", "td_open"}:
            found[-1].rows[-1].append(" ".join(inside.content.split()))
    return found


def _is_whole(table: _Table, lines: Sequence[str]) -> bool:
    """Say whether every letter and digit of a table's lines is in its cells; what is beyond the last column is not."""
    return _signs(lines[table.begin : table.end]) == _signs(chain(*table.rows))


def _signs(texts: Iterable[str]) -> Counter[str]:
    return Counter(char for text in texts for char in text if char.isalnum())


def _cells(table: Sequence[Sequence[str]]) -> list[list[tuple[str, str]]]:
    """Return each row's cells behind their labels; nothing of a table without."""
    header, *rows = table
    rows = [row for row in rows if any(row)]
    is_list = len(header) == 2 and all(label and len(value) <= _LONGEST for label, value in rows)
    if is_list and not any(header):
        return [[(label, value)] for label, value in rows]
    if is_list and not _has_digit(header[0]) and _has_digit(header[1]) and not _YEAR.fullmatch(header[1]):
        return [[(label, value)] for label, value in [header, *rows]]
    if not any(header) and len(rows) > 1 and _heads(rows[0], rows[1:]):
        header, *rows = rows
    columns = zip(*rows, strict=True)
    if not all(label or not any(column) for label, column in zip(header, columns, strict=False)):
        return []
    return [list(zip(header, row, strict=True)) for row in rows]


def _heads(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Say whether a row labels the others: all its cells differ, none has a digit, and all others do in a column."""
    columns = zip(*rows, strict=True)
    labels = all(cell and not _has_digit(cell) for cell in first) and len(set(first)) == len(first)
    return labels and any(all(map(_has_digit, column)) for column in columns)


def _has_digit(cell: str) -> bool:
    return any(char.isdigit() for char in cell)
