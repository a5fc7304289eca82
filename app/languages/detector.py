"""Where a text leaves its language: character offsets in the raw text, by Unicode script; lines by identification."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import regex

from app.languages.allowed import UNITS, hide
from app.languages.identify import LINE_SCORE, LINE_WORDS, identify_line
from app.languages.letters import LATIN_WORD, letters_of
from app.languages.policies import Allowance, Policy
from app.languages.prompts import labels_asked
from app.languages.words import words_in

_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_HAN = regex.compile(r"\p{Han}")
_CHINESE = "gb2312", "big5"  # what neither has is Japanese alone: 円, 塩, 込
_LISTED = regex.compile(r"(?:[^：\n]{1,12}：)?(?:[^、，。\n]{1,8}、){4,}[^、，。\n]{1,8}。?")  # 牛肉、玉葱、人参、…
_RIVAL_SCORE, _RIVAL_LETTERS = 0.7, 15  # neighbours are alike: short lines tell nothing
_WORD = regex.compile(r"[\p{L}\p{M}]+")
_LINE = regex.compile(r"[^\n]+")
_MARKUP = regex.compile(
    r"</?[A-Za-z!][^<>\n]{0,100}>|<\|[^|\n]{1,40}\|>|&[A-Za-z]{2,8};|\[/?[A-Z]{3,}\]|</?[A-Za-z]{1,10}\Z"
)
_GAP = regex.compile(r"[^\p{L}\p{N}\n]{0,3}")
_ACRONYM_LETTERS = 5
# languages that one script serves: what the identifier may hear in a line that is written in the right one
_RIVALS = {
    "Arabic": frozenset("ar fa ur ps ug ckb sd azb pnb".split()),  # noqa: SIM905
    "Cyrillic": frozenset("ru uk be bg sr mk kk ky mn tt".split()),  # noqa: SIM905
    "Devanagari": frozenset("hi mr ne sa mai bh".split()),  # noqa: SIM905
    "Han": frozenset(["zh", "yue", "wuu"]),
}


class Kind(StrEnum):
    """What a stretch of another language is."""

    SCRIPT = "script"
    WORD = "latin_word"
    ACRONYM = "unit_or_acronym"
    MARKUP = "markup"
    LINE = "line"
    ANSWER = "answer"


class Verdict(StrEnum):
    """What a fragment is to a language."""

    TARGET = "target"
    NEUTRAL = "neutral"
    OFF = "off"


@dataclass(frozen=True)
class Span:
    """A stretch that is off: `text[start:end]` of the text that was judged."""

    start: int
    end: int
    kind: Kind
    text: str


def find_confusion(text: str, policy: Policy, *, prompt: str = "") -> Span | None:
    """Return the first stretch that is off.

    Args:
        prompt: what was asked; its own foreign words, and languages that it names, are let through.
    """
    return next(iter(confusions(text, policy, prompt)), None)


def confusions(text: str, policy: Policy, prompt: str = "") -> list[Span]:
    """Return every stretch that is off, in order; neighbours of one kind are one stretch.

    Where nothing but whole lines in other languages is there, it is one stretch of the kind `answer`.
    """
    shown = hide(text, policy, prompt)
    lines = list(_lines(shown, policy, _labels(policy, prompt)))
    rest = _without(shown, lines)
    markup = list(_markup(rest, policy))
    rest = _without(rest, markup)
    found = sorted([*lines, *markup, *_words(rest, policy)])
    if lines and not letters_of(policy).target.search(rest):
        return [_span(text, found[0][0], found[-1][1], Kind.ANSWER)]
    return [_span(text, *one) for one in _merged(text, found)]


def classify(fragment: str, policy: Policy) -> Verdict:
    """Judge a fragment, such as a decoded token, by its letters alone: nothing is let through, no line identified.

    A fragment without letters is neutral: digits, punctuation, emoji, blanks, nothing, half a character.
    """
    letters = letters_of(policy)
    if letters.off.search(fragment):
        return Verdict.OFF
    return Verdict.TARGET if letters.target.search(fragment) else Verdict.NEUTRAL


def is_identified(text: str, policy: Policy) -> bool:
    """Say whether a line of several words is surely in the language."""
    guesses = [identify_line(line) for line in text.split("\n") if words_in(line) >= LINE_WORDS]
    return any(guess.language in policy.labels and guess.score >= LINE_SCORE for guess in guesses)


_Found = tuple[int, int, Kind]


def _labels(policy: Policy, prompt: str) -> frozenset[str]:
    """Return what the identifier may call a line."""
    return policy.labels | labels_asked(prompt) if Allowance.PROMPT in policy.allowed else policy.labels


def _lines(shown: str, policy: Policy, labels: frozenset[str]) -> Iterator[_Found]:
    for line in _LINE.finditer(shown):
        if words_in(line[0]) < LINE_WORDS:
            continue
        if _is_foreign(line[0], policy) or _is_identified_as_other(line[0], policy, labels):
            words = list(_WORD.finditer(line[0]))
            yield line.start() + words[0].start(), line.start() + words[-1].end(), Kind.LINE


def _is_foreign(line: str, policy: Policy) -> bool:
    """Say whether a line has no letter of the language, and several words of letters that are off."""
    letters = letters_of(policy)
    if letters.target.search(line):
        return False
    off = "".join(word for word in regex.split(r"(\s+)", line) if word.isspace() or letters.off.search(word))
    return words_in(off) >= LINE_WORDS


def _is_identified_as_other(line: str, policy: Policy, labels: frozenset[str]) -> bool:
    if not policy.is_latin and letters_of(policy).target.search(line):
        return _is_rival(line, policy, labels)
    guess = identify_line(line)
    if guess.score < LINE_SCORE or guess.language in labels:
        return False
    # English is what English-neutral leaves alone
    return policy.is_latin or (not policy.strict and guess.language != "en")


def _is_rival(line: str, policy: Policy, labels: frozenset[str]) -> bool:
    """Say whether a line in the right script is in a neighbour's language."""
    own = "".join(one if one.isspace() or letters_of(policy).target.match(one) else " " for one in line)
    if words_in(own) < LINE_WORDS or len("".join(own.split())) < _RIVAL_LETTERS or _is_japanese(line):
        return False
    guess = identify_line(own)
    rivals = frozenset().union(*[_RIVALS.get(script, frozenset()) for script in policy.scripts])
    return guess.score >= _RIVAL_SCORE and guess.language in rivals - labels


def _is_japanese(line: str) -> bool:
    """Say whether a line holds a letter that Chinese has not, or is a mere list, which the two may write alike."""
    alone = (one for one in _HAN.findall(line) if not any(one.encode(codec, "ignore") for codec in _CHINESE))
    return any(alone) or bool(_KANA.search(line) or _LISTED.fullmatch(line.strip()))


def _markup(shown: str, policy: Policy) -> Iterator[_Found]:
    """Find tags where their letters are off: from the bracket on, which is where the text takes the wrong turn."""
    if policy.strict and not policy.is_latin:
        yield from ((match.start(), match.end(), Kind.MARKUP) for match in _MARKUP.finditer(shown))


def _words(shown: str, policy: Policy) -> Iterator[_Found]:
    for run in letters_of(policy).foreign.finditer(shown):
        yield run.start(), run.end(), Kind.SCRIPT
    for word in () if policy.is_latin else LATIN_WORD.finditer(shown):
        if policy.strict or _is_accented(word[0], policy):
            yield word.start(), word.end(), _kind_of(word[0], shown[max(0, word.start() - 3) : word.start()])


def _is_accented(word: str, policy: Policy) -> bool:
    """Say whether a word cannot be English; names (São, Müller) are written as they are anywhere."""
    return bool(letters_of(policy).off.search(word)) and not word[0].isupper()


def _kind_of(word: str, before: str) -> Kind:
    short = len(word) <= _ACRONYM_LETTERS and word.isupper()
    after_number = before[-1:].isdigit() or (word in UNITS and before.rstrip()[-1:].isdigit())
    numbered = any(one.isdigit() for one in word)
    return Kind.ACRONYM if short or after_number or numbered else Kind.WORD


def _without(shown: str, found: list[_Found]) -> str:
    parts, last = [], 0
    for start, end, _ in found:
        parts += [shown[last:start], regex.sub(r"[^\n]", " ", shown[start:end])]
        last = end
    return "".join([*parts, shown[last:]])


def _merged(text: str, found: list[_Found]) -> Iterator[_Found]:
    """Yield stretches, those of one kind with nothing but a blank or a sign between them as one."""
    last: _Found | None = None
    for one in found:
        if last and last[2] is one[2] and _GAP.fullmatch(text, last[1], one[0]):
            last = (last[0], one[1], last[2])
            continue
        if last:
            yield last
        last = one
    if last:
        yield last


def _span(text: str, start: int, end: int, kind: Kind) -> Span:
    return Span(start, end, kind, text[start:end])
