"""A user's own prompts for a language guard, as a file holds them."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

from app.errors import EmptyDocument, UnreadableDocument, UnsupportedDocument

_HALF = re.compile("[\ud800-\udfff]")  # one of two \u escapes that make a character


def read_prompts(path: Path) -> tuple[str, ...]:
    """Read a user's own prompts, each once: a txt with one a line, a jsonl or a csv with the field `prompt`.

    Raises:
        UnsupportedDocument: another kind of file.
        UnreadableDocument: not to be read as what its name says; the text says where.
        EmptyDocument: no prompts.
    """
    readers = {".txt": _from_txt, ".jsonl": _from_jsonl, ".csv": _from_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UnsupportedDocument(
            f"{path.name!r} is not a list of prompts: give a .txt, .jsonl or .csv file.", "prompts"
        )
    prompts = tuple(dict.fromkeys(reader(path.name, _text(path))))
    if not prompts:
        raise EmptyDocument(f"{path.name!r} holds no prompts: write some, one a line.", "prompts")
    return prompts


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UnreadableDocument(f"No file can be read at {path}: check its name and its rights.", "prompts") from error
    except UnicodeDecodeError as error:
        raise UnreadableDocument(f"{path.name!r} is not UTF-8 text: save it as UTF-8.", "prompts") from error


def _from_txt(_name: str, text: str) -> Iterator[str]:
    return (line.strip() for line in text.split("\n") if line.strip())


def _from_jsonl(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _prompt(_parsed(line), f"Line {number} of {name!r}")


def _from_csv(name: str, text: str) -> Iterator[str]:
    rows = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        for row in rows:
            yield _prompt(row, f"The row that ends on line {rows.line_num} of {name!r}")
    except csv.Error as error:
        raise UnreadableDocument(
            f"{name!r} is not a csv file ({error}): check its quotes and separators.", "prompts"
        ) from error


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _prompt(row: object, where: str) -> str:
    prompt = row.get("prompt") if isinstance(row, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise UnreadableDocument(f"{where} has no text under `prompt`: give every prompt that field.", "prompts")
    if _HALF.search(prompt):
        raise UnreadableDocument(f"{where} has half a character under `prompt`: write it whole.", "prompts")
    return prompt.strip()
