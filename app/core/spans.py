"""Stretches of a sentence that a question may ask for: candidate answers."""

import re
from collections.abc import Iterator
from itertools import takewhile

from app.core.grounding import CHARACTER, MARKS, SPACED_NUMBER, SPACELESS, STOP_WORDS, content_words, holds, normalise

SPANS_PER_SENTENCE = 5
_LABEL = r"[^\s\d:：\"“«「『]{1,30}"
_LABELLED = re.compile(rf"({_LABEL}(?: {_LABEL}){{0,3}})(?:: +|： *)(\S.*)(?<![.!?。！？])")  # and no sentence
_LIST = re.compile(r"[,;:]\s|[，、；]")
_QUOTED = re.compile(r"[\"“«「『]([^\"”»」』]{2,60})[\"”»」』]")
_UPPER = r"[^\W\d_a-z]"
_SPACED = rf"(?!{SPACELESS.pattern})(?:[^\W_]|[{MARKS}])"  # a name goes on: A380, COVID-19
_ATOM = rf"(?!{SPACELESS.pattern})[\w.+-]"
_ADDRESS = re.compile(
    rf"(?:https?://|(?<!{_ATOM})www\.)(?:(?!{SPACELESS.pattern})[^\s<>\"“”«»，。、（）「」])+(?<=[\w/])|"
    rf"(?<!{_ATOM})(?:{_ATOM})++@(?:{_ATOM})+(?<=\w)"
)
_INSIDE = ".,'’٬٫．，"  # of a number: between thousands, or before a fraction
_BEGIN = rf"(?<!{_SPACED})(?<!\d[{_INSIDE}])(?<!(?!\d){_SPACED}-)"
_WORD = rf"{_UPPER}[\w{MARKS}]+"
_DATE = re.compile(
    rf"(?<![\w{MARKS}])(?:{_BEGIN}\d{{1,2}}\.? {_WORD}(?: \d{{4}})?|{_WORD} (?:\d{{1,2}}, )?\d{{4}})(?![\w{MARKS}])"
)
_UNIT = rf"%|per ?cent|°[CF]?|[ap]\.m\.|{CHARACTER.pattern}|(?:(?!{SPACELESS.pattern})[^\W\d_][{MARKS}]*)++(?!\d)"
_LARGE = r"(?: (?:hundred|thousand|million|billion|trillion))?"
_FIGURES = rf"(?:{SPACED_NUMBER}(?:[.,]\d+)?|\d(?:[\d:/–{_INSIDE}-]*\d)?)"
_NUMBER = re.compile(rf"(?:[€$£¥] ?|{_BEGIN}){_FIGURES}{_LARGE}(?: ?(?:{_UNIT}))?")
_WORDED = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|"
    r"(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million)\b(?: [^\W\d_]+)?"
)
_TOKEN = re.compile(r"[^\s,;:()\[\]\"“”«»!?。、]+")
_KATAKANA = re.compile(r"[\u30a1-\u30fa\u30fc]{3,}")
_NO_UNITS = frozenset(
    "unless each every only but so then or if after before under over more less than while when free long".split()  # noqa: SIM905
)
_JOINTS = frozenset(["of", "the", "de", "del", "la", "van", "von", "der", "den", "and", "&", "y", "und"])


def spans(sentence: str) -> list[str]:
    """Return at most `SPANS_PER_SENTENCE`: quotes, dates, numbers with their unit, names, and how clauses end.

    None is most of its sentence, but for an address and the value of a line `label: value`, whose label is none.
    """
    kept: list[str] = []
    label, value = _labelled(sentence)
    most = 0.7 * len(normalise(sentence))
    for found in _candidates(sentence, value):
        span = found if found.endswith(".m.") else found.strip(" ,.;:'\"’")
        is_new = not any(holds(one, span) or holds(span, one) for one in kept)
        says_enough = is_new and content_words(span) and not holds(label, span)
        leaves_enough = says_enough and (len(normalise(span)) < most or _may_be_long(span, sentence, label))
        if leaves_enough and holds(sentence, span):  # a part of 4x4 or №5 is no answer to anything
            kept.append(span)
        if len(kept) == SPANS_PER_SENTENCE:
            break
    return kept


def _candidates(sentence: str, value: str) -> Iterator[str]:
    yield from (match.group(1) for match in _QUOTED.finditer(sentence))
    yield from (match.group(0) for match in _ADDRESS.finditer(sentence))
    yield from [value] if _is_brief(value) else []
    yield from (match.group(0) for match in _DATE.finditer(sentence))
    yield from (_without_stop_word(match.group(0)) for match in _NUMBER.finditer(sentence))
    yield from (_without_stop_word(match.group(0)) for match in _WORDED.finditer(sentence))
    yield from names(sentence)
    yield from _KATAKANA.findall(sentence)
    yield from filter(None, map(_tail, reversed(re.split(r"[,;:]\s", sentence))))


def _labelled(sentence: str) -> tuple[str, str]:
    """Return the label that a line begins with, of up to four words and no digit, and its value; of a sentence none."""
    found = _LABELLED.fullmatch(sentence)
    return (found[1], found[2]) if found else ("", "")


def _is_brief(value: str) -> bool:
    """Say whether a value is one to six words, none of them small, and no list."""
    words = value.casefold().split()
    return 1 <= len(words) <= 6 and STOP_WORDS.isdisjoint(words) and not _LIST.search(value)


def _may_be_long(span: str, sentence: str, label: str) -> bool:
    """Say whether a span has a label or is an address, and leaves a word to ask by."""
    left = content_words(sentence.replace(span, " ", 1))
    return bool(left and (label or _ADDRESS.fullmatch(span)))


def _without_stop_word(number: str) -> str:
    head, _, last = number.rpartition(" ")
    return head if head and last.casefold() in STOP_WORDS | _JOINTS | _NO_UNITS else number


def names(sentence: str) -> Iterator[str]:
    """Yield runs of capitalised words; a sentence's first word alone is capitalised for another reason."""
    run: list[str] = []
    began = end = 0
    for match in [*_TOKEN.finditer(sentence), None]:
        word = match.group(0) if match else ""
        adjacent = match is not None and sentence[end : match.start()] == " "
        if match and _is_name(word) and (not run or adjacent):
            began = began if run else match.start()
            run.append(word)
        elif match and run and adjacent and word in _JOINTS:
            run.append(word)
        else:
            yield from _trimmed(run, at_start=began == 0)
            run, began = ([word], match.start()) if match and _is_name(word) else ([], 0)
        if match:
            end = match.end()


def _is_name(word: str) -> bool:
    return word[0].isupper() and word != "I"


def _trimmed(run: list[str], *, at_start: bool) -> Iterator[str]:
    words = list(run)
    while words and words[-1] in _JOINTS:
        words.pop()
    while words and words[0].casefold() in STOP_WORDS:
        words.pop(0)
        at_start = False
    if words and not (at_start and len(words) == 1):
        yield " ".join(words)


def _tail(clause: str) -> str:
    """Return the one to five words after the last small word."""
    words = [match.group(0) for match in _TOKEN.finditer(clause)]
    tail = list(takewhile(lambda word: word.casefold() not in STOP_WORDS, reversed(words)))[::-1]
    return " ".join(tail) if 1 <= len(tail) <= 5 and " ".join(tail) in clause else ""
