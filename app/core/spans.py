"""Stretches of a sentence that a question may ask for: candidate answers."""

import re
from collections.abc import Iterator
from itertools import chain, takewhile

from app.core.grounding import MARKS, SPACED_NUMBER, SPACELESS, STOP_WORDS, content_words, holds, normalise
from app.core.rows import cells_of

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
_PHONE = re.compile(
    r"(?<![\w.,:/-])(?=\+?(?:[ /()-]{0,2}\d){7})(?:\+\d{1,3}|\(?0\d{1,4}\)?)(?:[ /-]{1,2}\(?\d{1,5}\)?)+(?![\w/-])"
)
_INSIDE = ".,'’٬٫．，"  # of a number: between thousands, or before a fraction
_BEGIN = rf"(?<!{_SPACED})(?<!\d[{_INSIDE}])(?<!(?!\d){_SPACED}-)"
_WORD = rf"{_UPPER}[\w{MARKS}]+"
_MONTH = rf"(?!{SPACELESS.pattern}){_WORD}"  # where words are not spaced a clause looks the same
_DATE = re.compile(
    rf"(?<![\w{MARKS}])(?:{_BEGIN}\d{{1,2}}\.? (?:{_WORD} \d{{4}}|{_MONTH})|{_MONTH} (?:\d{{1,2}}, )?\d{{4}})"
    rf"(?![\w{MARKS}])"
)
# Units where words are not spaced; before anything else a number stands alone. Hiragana is grammar but for a counter.
_HAN_UNIT = (
    "世[纪紀]|年代|周年|小[时時]|[年日週分秒時]間|分[钟鐘]|[个個]月|[かカヵヶ箇][月国所]|[美欧歐日]元|人民[币幣]|[摄攝]氏度|"
    "(?:平方?|立方)?[公千毫厘釐微]?[米里尺寸斤克升分顷頃吨噸瓦]|"
    "[年月日号號天周週时時点點秒人名位个個只隻头頭匹本册冊枚张張台臺辆輛艘架座所家栋棟户戶戸层層階页頁章回次届屆度倍种種件]|"
    "[组組队隊项項门門块塊支颗顆株杯両岁歳歲级級元円圓]"
)
_KANA_UNIT = r"(?:平方|立方)?[\u30a1-\u30f4\u30fc]+|つ(?!い)"
_LARGE_HAN = "[十百千万萬亿億兆]"
_CJK_UNIT = rf"{_LARGE_HAN}*(?:{_HAN_UNIT}|{_KANA_UNIT})|{_LARGE_HAN}+"
_LETTER = rf"(?=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])[^\W\d_][{MARKS}]*"  # of Thai, Lao, Burmese, Khmer
_RUN = rf"(?:{_LETTER}){{1,12}}+(?![^\W_])"  # up to the next blank; a longer one is a clause
_UNIT = rf"%|per ?cent|°[CF]?|[ap]\.m\.|{_CJK_UNIT}|{_RUN}|(?:(?!{SPACELESS.pattern})[^\W\d_][{MARKS}]*)++(?!\d)"
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
    """Return at most `SPANS_PER_SENTENCE`: quotes, addresses, dates, numbers with their unit, names, ends of clauses.

    Only an address, the value of a line `label: value` and a number where words are not spaced may be most of their
    sentence; the label is no span. Of a table's row each cell is looked at by itself.
    """
    if cells := cells_of(sentence):
        told = ([value] if _is_a_cell(value) else spans(f"{label}: {value}") for label, value in cells)
        return list(dict.fromkeys(chain.from_iterable(told)))
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
    yield from (match.group(0) for match in _PHONE.finditer(sentence))
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


def _is_a_cell(value: str) -> bool:
    """Say whether the value of a row's cell is asked for as a whole: up to six words, or as much without blanks."""
    return len(value.split()) <= 6 and len(value) <= (20 if SPACELESS.search(value) else 60) and bool(normalise(value))


def _may_be_long(span: str, sentence: str, label: str) -> bool:
    """Say whether a span leaves a word, and has a label, is an address, or a number where words are not spaced."""
    left = content_words(sentence.replace(span, " ", 1))
    is_unspaced = SPACELESS.search(sentence) and _NUMBER.fullmatch(span)
    return bool(left and (label or is_unspaced or _ADDRESS.fullmatch(span)))


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
