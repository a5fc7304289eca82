"""Questions that a document asks and answers itself, as a page of frequent questions does."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from app.core.grounding import is_question
from app.core.sentences import sentences_of_line, unmarked, unwrapped

LONGEST = 400  # characters of an answer; it ends with a sentence
_STOPS = tuple(".!?…:;؟۔।॥。！？：；")


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
    """A question whose answer is being read."""

    question: str
    is_heading: bool
    sentences: list[str] = field(default_factory=list)


def asked(text: str) -> list[Asked]:
    """Return the questions of a text that are a heading, an item or a line of their own, with their answers.

    What stands below a heading answers it, up to the next heading or question; what stands below another line, up to
    the next blank line. A line that begins with a question in bold, or labelled as one, may answer it itself.
    """
    lines = unwrapped(text).split("\n")
    return [
        Asked(one.question, tuple(_brief(one.sentences))) for one in _opened(zip(lines, unmarked(lines), strict=True))
        if one.sentences
    ]  # fmt: skip


def _opened(lines: Iterable[tuple[str, str]]) -> Iterator[_Open]:
    """Yield each question with all that answers it; lines come as they stand and without their marks."""
    now: _Open | None = None
    for raw, line in lines:
        is_heading = raw.lstrip().startswith("#")
        told = sentences_of_line(line)
        questions = _questions(told)
        if not told:
            if now and now.sentences and not now.is_heading:
                yield now
                now = None
        elif is_heading or questions:
            if now:
                yield now
            rest = told[questions:]
            is_own = not rest or line != raw or line.lstrip().startswith(("**", "__"))
            now = _Open(" ".join(told[:questions]), is_heading, rest) if questions and is_own else None
        elif now:
            now.sentences += told
    if now:
        yield now


def _questions(told: list[str]) -> int:
    """Return how many questions a line begins with, where no other follows."""
    asks = [is_question(one) for one in told]
    count = asks.index(False) if False in asks else len(asks)
    return 0 if any(asks[count:]) else count


def _brief(told: list[str]) -> Iterator[str]:
    """Yield as many sentences as make an answer, one at least."""
    length = 0
    for sentence in told:
        length += len(sentence) + 2
        if length > LONGEST and length > len(sentence) + 2:
            return
        yield sentence
