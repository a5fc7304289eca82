"""csv and jsonl: question/answer pairs where the columns say so, prose otherwise."""

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from app.core.documents import Pair
from app.errors import EmptyDocument, UnreadableDocument
from app.services.documents.text import decode

_FIELD_LIMIT = 1_000_000


def read_csv(name: str, data: bytes) -> str | list[Pair]:
    """Read a csv: pairs where the header holds `question` and `answer`, else a line of prose a row.

    Raises:
        UnreadableDocument: not a csv, or a pair without an answer; the text says which row.
        EmptyDocument: no rows.
    """
    text = decode(name, data)
    csv.field_size_limit(_FIELD_LIMIT)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), _dialect(text), strict=True))
    except csv.Error as error:
        raise UnreadableDocument(
            f"{name!r} is not a csv file ({error}): check its quotes and separators.", "file"
        ) from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    header = [cell.strip().lower() for cell in rows[0]]
    if len(rows) < 2:
        raise EmptyDocument(f"{name!r} has a header and no rows: add some.", "file")
    if {"question", "answer"} <= set(header):
        return _pairs(name, (dict(zip(header, row, strict=False)) for row in rows[1:]), first=2)
    return "\n".join(_sentence(zip(rows[0], row, strict=False)) for row in rows[1:])


def read_jsonl(name: str, data: bytes) -> str | list[Pair]:
    """Read jsonl: pairs where the objects hold `question` and `answer`, else a line of prose an object.

    Raises:
        UnreadableDocument: a line is not an object, or a pair has no answer; the text says which line.
    """
    rows = [_object(name, number, line) for number, line in _lines(decode(name, data))]
    if any({"question", "answer"} <= {key.lower() for key in row} for row in rows):
        return _pairs(name, ({key.lower(): value for key, value in row.items()} for row in rows), first=1)
    return "\n".join(_sentence(row.items()) for row in rows)


def _lines(text: str) -> Iterable[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def _object(name: str, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnreadableDocument(
            f"Line {number} of {name!r} is not JSON: one object a line is wanted.", "file"
        ) from error
    if not isinstance(row, dict):
        raise UnreadableDocument(f"Line {number} of {name!r} is not a JSON object.", "file")
    return row


def _pairs(name: str, rows: Iterable[dict[str, Any]], *, first: int) -> list[Pair]:
    pairs: list[Pair] = []
    answers: dict[tuple[str, str], tuple[str, int]] = {}
    for number, row in enumerate(rows, first):
        question, answer, document = (_cell(row.get(key)) for key in ("question", "answer", "document"))
        if not question or not answer:
            raise UnreadableDocument(f"Row {number} of {name!r} has no question or no answer: fill it in.", "file")
        before, where = answers.setdefault((document, question), (answer, number))
        if before != answer:
            raise UnreadableDocument(
                f"Rows {where} and {number} of {name!r} answer one question differently: keep one of them.", "file"
            )
        if where == number:
            pairs.append(Pair(question, answer, document))
    return pairs


def _cell(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode().replace("\0", "").strip()


def _sentence(cells: Iterable[tuple[str, object]]) -> str:
    return "; ".join(f"{_cell(key)}: {_cell(value)}" for key, value in cells if _cell(value)) + "."


def _dialect(text: str) -> type[csv.Dialect]:
    try:
        return csv.Sniffer().sniff(text.partition("\n")[0], delimiters=",;\t")
    except csv.Error:
        return csv.excel
