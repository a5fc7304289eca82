"""How consistently answers keep to a language, and what such a figure hides when it stands alone.

RPR and WPR as in TLPO (Choo et al. 2026, https://arxiv.org/abs/2604.26553): the share of answers with nothing that is
off, and of words over all answers together. English-neutral leaves English words out, so an answer with no other has no
say: the shares of empty, unscorable and wholly English answers, the length and the diversity belong beside every RPR.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TypeVar

import regex

from app.languages.allowed import hide
from app.languages.detector import confusions
from app.languages.identify import LINE_SCORE, LINE_WORDS, identify_line
from app.languages.letters import letters_of
from app.languages.policies import Policy
from app.languages.words import split_words, words_in

T = TypeVar("T")
_LEVEL = 0.95  # of an interval
_LETTER = regex.compile(r"\p{L}")
_NOT_ENGLISH = regex.compile(r"[[\p{L}]--[A-Za-z]]", regex.V1)
_SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
_HAN = regex.compile(f"[{_SPACELESS}]")
_STRETCH = regex.compile(rf"[{_SPACELESS}]+|[^\s{_SPACELESS}]+")


@dataclass(frozen=True)
class Answer:
    """A model's answer; `ended` says whether it came to its end of text, None where nobody knows."""

    text: str
    prompt: str = ""
    ended: bool | None = None


@dataclass(frozen=True)
class Scored:
    """One answer by its words: how many have a say, and how many of them fail."""

    words: int
    failing: int
    clean: bool
    empty: bool
    english: bool

    @property
    def scorable(self) -> bool:
        """Whether the answer has a say in RPR."""
        return self.words > 0


@dataclass(frozen=True)
class Consistency:
    """What many answers come to: shares of 0 to 1, None where nothing has a say.

    Attributes:
        rpr: of the scorable answers, those without a failing word or line.
        wpr: of the words of all answers, those that pass.
        distinct: of the pairs of neighbouring words, those that differ; it falls as texts grow, so compare like with
            like.
    """

    rpr: float | None
    wpr: float | None
    answers: int
    scorable: int
    empty: float
    unscorable: float
    english: float
    mean_characters: float
    ended: float | None
    distinct: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the fields."""
        return asdict(self)


def score_answer(answer: Answer, policy: Policy) -> Scored:
    """Score one answer."""
    found = confusions(answer.text, policy, answer.prompt)
    shown = hide(answer.text, policy, answer.prompt)
    words = failing = 0
    for start, end in _words(shown, policy.language):
        fails = any(one.start < end and one.end > start for one in found)
        failing += fails
        words += fails or bool(letters_of(policy).target.search(shown, start, end))
    return Scored(words, failing, not found, not answer.text.strip(), is_english(answer.text, policy))


def is_english(text: str, policy: Policy) -> bool:
    """Say whether an answer that should be in another language is wholly English."""
    if policy.language == "en" or not _LETTER.search(text):
        return False
    if not policy.is_latin:
        return not _NOT_ENGLISH.search(text)
    guess = identify_line(text.replace("\n", " "))
    return words_in(text) >= LINE_WORDS and guess.language == "en" and guess.score >= LINE_SCORE


def summarise(answers: Sequence[Answer], policy: Policy) -> Consistency:
    """Score answers together."""
    scored = [score_answer(answer, policy) for answer in answers]
    scorable = [one for one in scored if one.scorable]
    words = sum(one.words for one in scored)
    ends = [answer.ended for answer in answers if answer.ended is not None]
    return Consistency(
        rpr=_share(sum(one.clean for one in scorable), len(scorable)),
        wpr=_share(words - sum(one.failing for one in scored), words),
        answers=len(scored),
        scorable=len(scorable),
        empty=_share(sum(one.empty for one in scored), len(scored)) or 0.0,
        unscorable=_share(len(scored) - len(scorable), len(scored)) or 0.0,
        english=_share(sum(one.english for one in scored), len(scored)) or 0.0,
        mean_characters=_share(sum(len(answer.text) for answer in answers), len(answers)) or 0.0,
        ended=_share(sum(ends), len(ends)),
        distinct=distinct_2([answer.text for answer in answers], policy.language),
    )


def distinct_2(texts: Iterable[str], language: str) -> float | None:
    """Return the share of different pairs of neighbouring words among all, None where no text has any.

    Paper: Li et al. 2016, https://arxiv.org/abs/1510.03055, section 5.
    """
    pairs: list[tuple[str, str]] = []
    for text in texts:
        words = [word.casefold() for line in text.split("\n") for word in split_words(line, language) if word.strip()]
        pairs += pairwise(words)
    return _share(len(set(pairs)), len(pairs))


def bootstrap(
    prompts: Sequence[Sequence[T]],
    statistic: Callable[[Sequence[T]], float | None],
    *,
    seed: int,
    draws: int = 2000,
) -> tuple[float, float] | None:
    """Return the percentile interval of a statistic over prompts drawn with replacement.

    Args:
        prompts: what was measured of each prompt, all of it drawn together; pairs (before, after) give the interval
            of a paired difference.
        statistic: of all that was drawn; a draw for which it has no value is left out.
        seed: the same seed gives the same interval.
    """
    chance = random.Random(seed)
    values = [statistic([one for prompt in _draw(chance, prompts) for one in prompt]) for _ in range(draws)]
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    cut = (1 - _LEVEL) / 2 * (len(known) - 1)
    return known[round(cut)], known[round(len(known) - 1 - cut)]


def _draw(chance: random.Random, prompts: Sequence[Sequence[T]]) -> list[Sequence[T]]:
    return chance.choices(prompts, k=len(prompts)) if prompts else []


def _words(shown: str, language: str) -> Iterator[tuple[int, int]]:
    """Yield where the words with letters are; dividers of Chinese and Japanese are not asked about other scripts."""
    for stretch in _STRETCH.finditer(shown):
        at = stretch.start()
        for word in split_words(stretch[0], language) if _HAN.match(stretch[0]) else [stretch[0]]:
            start = shown.find(word, at, stretch.end())
            if start >= 0 and _LETTER.search(word):
                at = start + len(word)
                yield start, at


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
