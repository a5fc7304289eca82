"""csv, jsonl and json: question/answer pairs where the columns say so, prose otherwise."""

import csv
import io
import json
from collections.abc import Iterable
from itertools import chain
from typing import Any

from app.core.documents import Pair
from app.core.rows import rows_of
from app.errors import EmptyDocument, UnreadableDocument
from app.services.documents.text import decode

_FIELD_LIMIT = 1_000_000
_Row = tuple[int, dict[str, Any]]  # where the user finds it, and its cells by lower-case column


def read_csv(name: str, data: bytes) -> str | list[Pair]:
    """Read a csv: pairs where the header holds `question` and `answer`, else a paragraph of prose a row.

    Raises:
        UnreadableDocument: not a csv, a row longer than the header, or a pair without an answer; the text says which.
        EmptyDocument: no rows.
    """
    text = decode(name, data)
    csv.field_size_limit(_FIELD_LIMIT)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True))
    except csv.Error as error:
        raise UnreadableDocument(
            f"{name!r} is not a csv file ({error}): check its quotes and separators.", "file"
        ) from error
    rows = [(number, cells) for number, cells in enumerate(lines, 1) if any(cell.strip() for cell in cells)]
    if len(rows) < 2:
        raise EmptyDocument(f"{name!r} holds no rows beside its header: add some.", "file")
    (_, header), *rest = rows
    columns = [cell.strip().lower() for cell in header]
    for number, cells in rest:
        if any(cell.strip() for cell in cells[len(columns) :]):
            raise UnreadableDocument(
                f"Row {number} of {name!r} has more cells than the header: put text that holds a separator in quotes.",
                "file",
            )
    if not {"question", "answer"} <= set(columns):
        return _told(zip(header, cells, strict=False) for _, cells in rest)
    return _pairs(name, [(number, dict(zip(columns, cells, strict=False))) for number, cells in rest])


def read_jsonl(name: str, data: bytes) -> str | list[Pair]:
    """Read jsonl: pairs where the objects hold `question` and `answer`, else a paragraph of prose an object.

    Raises:
        UnreadableDocument: a line is not an object, or a pair has no answer; the text says which line.
    """
    lines = enumerate(decode(name, data).split("\n"), 1)
    return _objects(
        name, [(number, _parsed(name, line, f"Line {number} of ")) for number, line in lines if line.strip()]
    )


def read_json(name: str, data: bytes) -> str | list[Pair]:
    """Read a json list of objects as if each were a line of jsonl; raises what `read_jsonl` does."""
    rows = _parsed(name, decode(name, data), "")
    if not isinstance(rows, list):
        raise UnreadableDocument(f"{name!r} is not a JSON list: send a list of objects, or jsonl.", "file")
    return _objects(name, list(enumerate(rows, 1)))


def _objects(name: str, rows: list[tuple[int, Any]]) -> str | list[Pair]:
    objects: list[_Row] = []
    for number, row in rows:
        if not isinstance(row, dict):
            raise UnreadableDocument(f"Row {number} of {name!r} is not a JSON object.", "file")
        objects.append((number, row))
    folded = [(number, {key.strip().lower(): value for key, value in row.items()}) for number, row in objects]
    if any({"question", "answer"} <= set(row) for _, row in folded):
        return _pairs(name, folded)
    return _told(row.items() for _, row in objects)


def _parsed(name: str, text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableDocument(f"{where}{name!r} is not JSON: correct it and send it again.", "file") from error


def _pairs(name: str, rows: Iterable[_Row]) -> list[Pair]:
    pairs: list[Pair] = []
    answers: dict[tuple[str, str], tuple[str, int]] = {}
    for number, row in rows:
        question, answer, document = (_cell(row.get(key)) for key in ("question", "answer", "document"))
        if not question or not answer:
            raise UnreadableDocument(f"Row {number} of {name!r} has no question or no answer: fill it in.", "file")
        before, where = answers.setdefault((document, _folded(question)), (_folded(answer), number))
        if before != _folded(answer):
            raise UnreadableDocument(
                f"Rows {where} and {number} of {name!r} answer one question differently: keep one of them.", "file"
            )
        if where == number:
            pairs.append(Pair(question, answer, document))
    return pairs


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _cell(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode().replace("\0", "").strip()


def _told(rows: Iterable[Iterable[tuple[str, object]]]) -> str:
    """Tell each row in a paragraph."""
    return "\n\n".join(chain(*(rows_of((_cell(key), _cell(value)) for key, value in cells) for cells in rows)))


def _delimiter(text: str) -> str:
    """Return what the header's cells stand apart by. `csv.Sniffer` also guesses the quoting, and spoils cells by it."""
    outside = "".join(text.partition("\n")[0].split('"')[::2])
    return max(",;\t", key=outside.count)
