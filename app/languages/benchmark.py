"""The Language Confusion Benchmark's metrics: line pass rate, word pass rate and their harmonic mean.

Paper: Marchisio et al. 2024, https://arxiv.org/abs/2406.20052, section 3. Words are not comparable with those of
`app.languages.metrics`: here a word fails where an English dictionary has it.
"""

import string
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from app.languages.identify import Guess, identify
from app.languages.words import split_words

LINE_WORDS = 5
LINE_SCORE = 0.3
WORD_LANGUAGES = frozenset(["ar", "hi", "ja", "ko", "ru", "zh"])  # elsewhere an English word may be the language's own
_DROPPED = str.maketrans("—", " ", f"{string.punctuation}،")


@dataclass(frozen=True)
class Output:
    """One answer of a model: to a prompt of a source, to be in a language."""

    task: str
    source: str
    language: str
    text: str


@dataclass(frozen=True)
class Judged:
    """What became of one answer.

    Attributes:
        lines: how many were long enough to be judged.
        wrong: how many of them are in another language.
        english: whether a line holds an English word.
    """

    lines: int
    wrong: int
    english: bool


@dataclass(frozen=True)
class Rates:
    """Shares of 0 to 1, and of how many answers; nothing to judge counts as nothing wrong, as in the benchmark."""

    lpr: float
    wpr: float | None
    answers: int
    scorable: int

    @property
    def lcpr(self) -> float | None:
        """The harmonic mean of both."""
        if self.wpr is None:
            return None
        return 2 * self.lpr * self.wpr / (self.lpr + self.wpr) if self.lpr + self.wpr else 0.0

    @property
    def shares(self) -> dict[str, float | None]:
        """All three rates, as shares."""
        return {"lpr": self.lpr, "wpr": self.wpr, "lcpr": self.lcpr}

    def to_dict(self) -> dict[str, float | int | None]:
        """Return them in per cent."""
        told = {name: None if share is None else 100 * share for name, share in self.shares.items()}
        return {**told, "answers": self.answers, "scorable": self.scorable}


def judge(
    text: str, language: str, english: Collection[str], identify_line: Callable[[str], Guess] = identify
) -> Judged:
    """Judge one answer by its lines of five words and more.

    Args:
        english: English words of four letters and more, in lower case.
    """
    answer = text.partition("\nQ:")[0].strip().translate(_DROPPED)
    divided = [(line, split_words(line, language)) for line in answer.split("\n")]
    long = [(line, words) for line, words in divided if len(words) >= LINE_WORDS]
    wrong = sum(not _is_in(identify_line(line), language) for line, _ in long)
    return Judged(len(long), wrong, any(word.strip() in english for _, words in long for word in words))


def _is_in(guess: Guess, language: str) -> bool:
    return guess.language == language and guess.score > LINE_SCORE


def rates_of(judged: Iterable[Judged], language: str) -> Rates:
    """Return the rates of one source's answers in one language: answers with no line to judge are left out."""
    every = list(judged)
    scorable = [one for one in every if one.lines]
    clean = [one for one in scorable if not one.wrong]
    lpr = len(clean) / len(scorable) if scorable else 1.0
    # WPR is among answers without a wrong line
    wpr = 1 - sum(one.english for one in clean) / max(1, len(clean)) if language in WORD_LANGUAGES else None
    return Rates(lpr, wpr, len(every), len(scorable))


def summarise(judged: Iterable[tuple[Output, Judged]]) -> dict[str, dict[str, Rates]]:
    """Return rates by task and language, `all` among them: means over sources, then over languages."""
    groups: dict[tuple[str, str, str], list[Judged]] = {}
    for output, one in judged:
        groups.setdefault((output.task, output.language, output.source), []).append(one)
    by_language: dict[tuple[str, str], list[Rates]] = {}
    for (task, language, _), ones in sorted(groups.items()):
        by_language.setdefault((task, language), []).append(rates_of(ones, language))
    found: dict[str, dict[str, Rates]] = {}
    for (task, language), sources in by_language.items():
        found.setdefault(task, {})[language] = _mean(sources)
    return {task: {**languages, "all": _mean(languages.values())} for task, languages in found.items()}


def _mean(rates: Collection[Rates]) -> Rates:
    words = [one.wpr for one in rates if one.wpr is not None]
    return Rates(
        sum(one.lpr for one in rates) / len(rates),
        sum(words) / len(words) if words else None,
        sum(one.answers for one in rates),
        sum(one.scorable for one in rates),
    )
