"""Does a longer text rest on a source? Numbers, names and words are looked for in it, in any script.

Names are runs of capitals, and in Japanese of katakana. A script that shows none must share more of its words.
"""

import re
import unicodedata

from app.core.grounding import SPACELESS, content_words, normalise
from app.core.sentences import sentences
from app.core.spans import names

UNCASED_SHARE = 0.8
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_THOUSANDS = re.compile(r"(?<=\d)[,'’\u00a0\u202f](?=\d{3}(?!\d))")
_KATAKANA = re.compile(r"[\u30a1-\u30fa\u30fc]{3,}")
_WORDED = {
    word: str(number)
    for number, word in enumerate(
        """
        two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
        nineteen twenty
        """.split(),  # noqa: SIM905 - a list of quoted words is harder to read
        2,
    )
}
_STEM, _ENDING = 5, 2


def is_faithful(text: str, source: str, *, share: float) -> bool:
    """Say whether a text says no number and no name that its source does not, and little in other words.

    Args:
        share: of the text's content words, 0-1, that the source must hold; endings may differ.
    """
    known, said = content_words(source), [word for word in content_words(text) if _tells(word)]
    if not said or not _numbers(text) <= _numbers(source):
        return False
    if not all(_is_named(name, source, known) for name in _names(text)):
        return False
    stems = {word[:_STEM] for word in known if len(word) > _STEM}
    found = sum(word in known or (len(word) > _STEM and word[:_STEM] in stems) for word in said)
    is_cased = text.upper() != text.lower()
    return found >= (share if is_cased else max(share, UNCASED_SHARE)) * len(said)


def _tells(word: str) -> bool:
    """Say whether a word counts as one: no letter cut off by an apostrophe, and no number, which is judged as such."""
    return (len(word) > 1 or SPACELESS.match(word) is not None) and not word.replace(".", "").isdecimal()


def _numbers(text: str) -> set[str]:
    """Return every number as western digits with a decimal point, worded ones up to twenty included."""
    plain = _THOUSANDS.sub("", unicodedata.normalize("NFKC", text))
    western = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in plain)
    worded = {_WORDED[word] for word in normalise(text).split() if word in _WORDED}
    return {number.replace(",", ".") for number in _NUMBER.findall(western)} | worded


def _names(text: str) -> list[str]:
    return [name for one in sentences(text) for name in (*names(one), *_KATAKANA.findall(one))]


def _is_named(name: str, source: str, known: frozenset[str]) -> bool:
    if _KATAKANA.fullmatch(name):
        return name in unicodedata.normalize("NFKC", source)
    words = [word for word in content_words(name) if _tells(word) and not any(map(str.isdecimal, word))]
    return all(any(_is_form(word, one) for one in known) for word in words)


def _is_form(word: str, other: str) -> bool:
    """Say whether two words differ at most in a short ending."""
    short, long = sorted((word, other), key=len)
    return long == short or (len(short) > 3 and len(long) - len(short) <= _ENDING and long.startswith(short))
