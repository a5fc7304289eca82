"""What a check of one text says: where it leaves its language, how much of it is the language's own, its lines."""

from dataclasses import dataclass

import regex

from app.languages.detector import Span, confusions
from app.languages.identify import LINE_WORDS, identify_line
from app.languages.letters import letters_of
from app.languages.policies import Policy
from app.languages.words import words_in

_LETTER = regex.compile(r"\p{L}")
_LINE = regex.compile(r"[^\n]+")


@dataclass(frozen=True)
class Line:
    """A line of several words, and what the identifier takes it for (its score is of 0 to 1)."""

    start: int
    end: int
    language: str
    score: float


@dataclass(frozen=True)
class Report:
    """What was found in one text; `target_share` is of its letters, None where it has none."""

    language: str
    strict: bool
    confusions: tuple[Span, ...]
    target_share: float | None
    lines: tuple[Line, ...]

    @property
    def clean(self) -> bool:
        """Whether the text never leaves its language."""
        return not self.confusions


def check(text: str, policy: Policy, prompt: str = "") -> Report:
    """Judge one text."""
    letters = len(_LETTER.findall(text))
    own = sum(bool(_LETTER.match(one)) for one in letters_of(policy).target.findall(text))
    found = tuple(confusions(text, policy, prompt))
    return Report(policy.language, policy.strict, found, own / letters if letters else None, tuple(_lines(text)))


def _lines(text: str) -> list[Line]:
    long = [line for line in _LINE.finditer(text) if words_in(line[0]) >= LINE_WORDS]
    guesses = [identify_line(line[0]) for line in long]
    return [
        Line(line.start(), line.end(), guess.language, round(guess.score, 4))
        for line, guess in zip(long, guesses, strict=True)
    ]
