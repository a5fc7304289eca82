"""Prompts that a language guard is trained and tested on: the shipped set, and which of them may train.

`prompts/` holds questions that want an answer in their own language alone; `requested/` those that rightly ask for
foreign text, which a guard must leave working: in de, es and fr for whole sentences or another script, since a word
would not show; `clean/` plain texts, whose perplexity must not rise. `left_out/` holds, a regular expression a line,
the words that keep a prompt out of training: names of languages, "translate", "python", "http" and their like, in the
language itself and (`en.txt`) in English.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

import regex

from app.core.guard_recipe import SHIPPED
from app.errors import InvalidRequest
from app.languages.policies import policy_for

T = TypeVar("T")
HELD_OUT_EVERY = 5
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


def trainable(prompts: Iterable[str], language: str) -> tuple[str, ...]:
    """Return the prompts that may train a guard for `language`.

    A prompt with a foreign character, or that names a language or a program, may rightly be answered with foreign text:
    training on it would unlearn that. Filter: TLPO, arXiv 2604.26553, training data.

    Raises:
        InvalidRequest: no rule for `language`.
    """
    _check(language)
    found = _left_out(language)
    return tuple(prompt for prompt in prompts if not found.search(normalize("NFC", prompt)))


def hold_out(prompts: Sequence[T]) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Return the prompts to train on and every fifth, held out: the same ones each time."""
    held_out = tuple(prompts[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
    return tuple(one for at, one in enumerate(prompts, 1) if at % HELD_OUT_EVERY), held_out


def _check(language: str) -> None:
    if language not in SHIPPED:
        raise InvalidRequest(
            f"No prompts are shipped for the language {language!r}: choose one of {', '.join(SHIPPED)}.", "language"
        )


def _lines(folder: str, language: str) -> list[str]:
    return (_FILES / folder / f"{language}.txt").read_text(encoding="utf-8").split("\n")[:-1]


@cache
def _left_out(language: str) -> regex.Pattern[str]:
    """Return what finds a character of a foreign script, or a word that keeps a prompt out of training."""
    own = "".join(rf"\p{{Script={script}}}" for script in (*policy_for(language).scripts, "Common", "Inherited"))
    words = _lines("left_out", language) + _lines("left_out", "en")
    return regex.compile(normalize("NFC", "|".join((f"[^{own}]", *words))), regex.IGNORECASE)
