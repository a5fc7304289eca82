"""Words: of text as its language divides it, and of English. The packages that know them are optional."""

import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import regex

from app.core.errors import InvalidValue

ENGLISH_LETTERS = 4  # shorter words are spelt like others' too
_SPACELESS = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]")
_LETTERS_PER_WORD = 2  # of a script without spaces
_WORD = regex.compile(r"[\p{L}\p{M}]+")


def words_in(line: str) -> int:
    """Count words; where a script has no spaces, two letters are one."""
    spaceless = len(_SPACELESS.findall(line))
    return len(_WORD.findall(_SPACELESS.sub(" ", line))) + spaceless // _LETTERS_PER_WORD


def split_words(line: str, language: str) -> list[str]:
    """Divide a line at its blanks; Chinese by jieba, Japanese by MeCab with UniDic.

    Raises:
        InvalidValue: the package that divides this language is not installed.
    """
    divide = _DIVIDERS.get(language)
    return divide()(line) if divide else line.split()


@lru_cache(maxsize=1)
def _chinese() -> Callable[[str], list[str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jieba's own, about its own source
            import jieba  # noqa: PLC0415 - 40 MB, wanted for one language
    except ImportError as error:
        raise _missing("jieba", "Chinese text into words") from error
    jieba.setLogLevel("ERROR")
    return lambda line: list(jieba.cut(line))


@lru_cache(maxsize=1)
def _japanese() -> Callable[[str], list[str]]:
    try:
        import fugashi  # noqa: PLC0415 - 250 MB with its dictionary, wanted for one language

        tagger = fugashi.Tagger("-O wakati -b 50000")
    except (ImportError, RuntimeError) as error:
        raise _missing("fugashi with unidic-lite", "Japanese text into words") from error
    return lambda line: list(tagger.parse(line).split())


_DIVIDERS = {"zh": _chinese, "ja": _japanese}


def english_words(path: Path | None = None) -> frozenset[str]:
    """Return lower-case English words of four letters and more.

    Args:
        path: a list, one word a line; the one in pyspellchecker's package by default.

    Raises:
        InvalidValue: neither is there, or the list is not UTF-8.
    """
    words = _listed(path) if path else _packaged()
    return frozenset(word for word in words if word.islower() and len(word) >= ENGLISH_LETTERS)


def _listed(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except UnicodeDecodeError as error:
        raise InvalidValue(f"{path.name} is not UTF-8 text: save it as UTF-8.") from error


def _packaged() -> list[str]:
    try:
        from spellchecker import SpellChecker  # noqa: PLC0415 - optional
    except ImportError as error:
        raise _missing("pyspellchecker", "English words from others") from error
    return list(SpellChecker(language="en").word_frequency.words())


def _missing(package: str, what: str) -> InvalidValue:
    return InvalidValue(f"{package} tells {what} and is not installed: install Lorekeep's extra `languages`.")
