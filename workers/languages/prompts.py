"""Prompts that a language guard is trained and tested on: the shipped set, a user's own, and which of them may train.

`prompts/` holds questions that want an answer in their own language alone; `requested/` those that rightly ask for
foreign text, which a guard must leave working; `clean/` plain texts, whose perplexity must not rise. `left_out/` holds,
a regular expression a line, the words that keep a prompt out of training: names of languages, "translate", "python",
"http" and their like, in the language itself and (`en.txt`) in English.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from unicodedata import normalize

import regex

from app.errors import EmptyDocument, InvalidRequest, UnreadableDocument, UnsupportedDocument

HELD_OUT_EVERY = 5
SCRIPTS = {
    "ar": ("Arabic",),
    "de": ("Latin",),
    "es": ("Latin",),
    "fr": ("Latin",),
    "hi": ("Devanagari",),
    "ja": ("Han", "Hiragana", "Katakana"),
    "ko": ("Hangul",),
    "ru": ("Cyrillic",),
    "zh": ("Han",),
}
_FILES = Path(__file__).parent


@cache
def load_prompts(language: str) -> tuple[str, ...]:
    """Read the shipped prompts of `language`; all of them may train.

    Raises:
        InvalidRequest: none are shipped for it.
    """
    _check(language)
    return tuple(_lines("prompts", language))


@cache
def requested(language: str) -> tuple[str, ...]:
    """Read the prompts of `language` that rightly ask for foreign text; raises what `load_prompts` does."""
    _check(language)
    return tuple(_lines("requested", language))


@cache
def clean_texts(language: str) -> tuple[str, ...]:
    """Read the plain paragraphs of `language` or of English, "en"; raises what `load_prompts` does."""
    if language != "en":
        _check(language)
    text = (_FILES / "clean" / f"{language}.txt").read_text(encoding="utf-8")
    return tuple(text.strip().split("\n\n"))


def split_prompts(prompts: Iterable[str], language: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the prompts that may train a guard for `language`, and those that only test it.

    A prompt with a foreign character, or that names a language or a program, may rightly be answered with foreign text:
    training on it would unlearn that. Filter: TLPO, arXiv 2604.26553, training data.

    Raises:
        InvalidRequest: no rule for `language`.
    """
    _check(language)
    found = _left_out(language)
    train: list[str] = []
    test_only: list[str] = []
    for prompt in prompts:
        (test_only if found.search(normalize("NFC", prompt)) else train).append(prompt)
    return tuple(train), tuple(test_only)


def hold_out(prompts: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the prompts to train on and every fifth, held out: the same ones each time."""
    held_out = tuple(prompts[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
    return tuple(one for at, one in enumerate(prompts, 1) if at % HELD_OUT_EVERY), held_out


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


def _check(language: str) -> None:
    if language not in SCRIPTS:
        raise InvalidRequest(
            f"No prompts are shipped for the language {language!r}: choose one of {', '.join(SCRIPTS)}.", "language"
        )


def _lines(folder: str, language: str) -> list[str]:
    return (_FILES / folder / f"{language}.txt").read_text(encoding="utf-8").split("\n")[:-1]


@cache
def _left_out(language: str) -> regex.Pattern[str]:
    """Return what finds a character of a foreign script, or a word that keeps a prompt out of training."""
    own = "".join(rf"\p{{Script={script}}}" for script in (*SCRIPTS[language], "Common", "Inherited"))
    words = _lines("left_out", language) + _lines("left_out", "en")
    return regex.compile(normalize("NFC", "|".join((f"[^{own}]", *words))), regex.IGNORECASE)


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
    return prompt.strip()
