"""Questions that a document asks and answers itself, as a page of frequent questions does."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from app.core.grounding import QUESTION_MARKS, content_words, is_question, normalise
from app.core.sentences import is_reply, sentences_of_line, unlabelled, unmarked, unwrapped

LONGEST = 400  # characters of an answer; it ends with a sentence
_STOPS = tuple(".!?…:;؟۔।॥。！？：；")
_HEADING = re.compile(r"\s*(#{1,6})\s")
_RULE = re.compile(r"\s*(?:[-*_]\s*){3,}$")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_SAYS = re.compile(r"\s*[—–―]")  # somebody, in a novel
_ANCHOR = re.compile(r"\s*\{#[^{}]*\}\s*$")


@dataclass(frozen=True)
class Asked:
    """A question and what stands below it; `sentences` are the answer's."""

    question: str
    sentences: tuple[str, ...]

    @property
    def answer(self) -> str:
        """The sentences in one line; what ends without a stop, such as an item of a list, is told apart."""
        return "".join(
            one + ("" if at + 1 == len(self.sentences) else " " if one.endswith(_STOPS) else "; ")
            for at, one in enumerate(self.sentences)
        )


@dataclass
class _Open:
    """A question whose answer is being read.

    Attributes:
        depth: of a heading, 1 to 6; 0 of any other line.
        is_listed: whether it comes right after another item that nothing answers, as in a table of contents.
    """

    question: str
    depth: int
    sentences: list[str] = field(default_factory=list)
    is_listed: bool = False

    def ends(self, raw: str) -> bool:
        """Say whether a line that says nothing ends the answer."""
        if not self.sentences:
            return False
        return _RULE.match(raw) is not None or not (self.depth or self.sentences[-1].endswith((":", "：")))


def asked(text: str) -> list[Asked]:
    """Return the questions of a text that are a heading, an item or a line of their own, with their answers.

    What stands below a heading answers it, up to the next heading or question; what stands below another line, up to
    the next blank line. A line that begins with a question in bold, or labelled as one, may answer it itself. Of a
    question that is there several times the headings count; one that is answered differently is left out, and one whose
    answer begins with a sentence longer than `LONGEST`.
    """
    lines = unwrapped(text).split("\n")
    opened = _opened(_read(zip(lines, unmarked(lines), strict=True)))
    return _of_one_answer([one for one in opened if one.sentences and not one.is_listed])


def _of_one_answer(found: Sequence[_Open]) -> list[Asked]:
    groups: dict[str, list[_Open]] = {}
    for one in found:
        groups.setdefault(normalise(one.question), []).append(one)
    kept = []
    for group in groups.values():
        headings = [one for one in group if one.depth] or group
        answers = {tuple(_brief(one.sentences)) for one in headings}
        kept += [Asked(headings[0].question, told) for told in answers if len(answers) == 1 and len(told[0]) <= LONGEST]
    return kept


@dataclass(frozen=True)
class _Line:
    """A line as it stands, and its sentences without its marks; `question` is what it begins with, if anything."""

    raw: str
    depth: int
    question: str
    sentences: list[str]
    is_item: bool


def _read(lines: Iterable[tuple[str, str]]) -> Iterator[_Line]:
    """Read lines, which come as they stand and without their marks; in code nothing is asked."""
    is_code = False
    for raw, line in lines:
        if _FENCE.match(raw):
            is_code = not is_code
            continue
        heading = None if is_code else _HEADING.match(raw)
        told = sentences_of_line(line)
        question, rest = ("", told) if is_code else _split(raw, line, told, is_heading=bool(heading))
        is_item = line != raw and not heading and not rest
        yield _Line(raw, len(heading[1]) if heading else 0, question, rest, is_item)


def _opened(lines: Iterable[_Line]) -> Iterator[_Open]:
    """Yield each question with all that answers it."""
    now: _Open | None = None
    for line in lines:
        if not (line.question or line.sentences):
            if now and now.ends(line.raw):
                yield now
                now = None
        elif line.question or (line.depth and not (now and line.depth > now.depth > 1)):  # below its heading it answers
            if now:
                yield now
            is_listed = bool(line.is_item and now and not (now.sentences or now.depth))
            now = _Open(line.question, line.depth, line.sentences, is_listed) if line.question else None
        elif now:
            now.sentences += line.sentences
    if now:
        yield now


def _split(raw: str, line: str, told: list[str], *, is_heading: bool) -> tuple[str, list[str]]:
    """Return the question that a line is, or begins with, and the rest of the line."""
    if _SAYS.match(line) or is_reply(raw):
        return "", told
    if is_heading:
        asks = any(one.endswith(QUESTION_MARKS) and content_words(one) for one in told)
        return (unlabelled(_ANCHOR.sub("", " ".join(told))), []) if asks else ("", told)
    asked_first = [is_question(one) for one in told]
    count = asked_first.index(False) if False in asked_first else len(told)
    is_marked = line != raw or line.lstrip().startswith(("**", "__"))
    if count and (count == len(told) or is_marked):
        return unlabelled(" ".join(told[:count])), told[count:]
    return "", told


def _brief(told: list[str]) -> Iterator[str]:
    """Yield as many sentences as make an answer, one at least."""
    length = 0
    for sentence in told:
        length += len(sentence) + 2
        if length > LONGEST and length > len(sentence) + 2:
            return
        yield sentence
