"""What a candidate is asked at its gate, and which of its parts is asked what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from app.core.context import Shown
from app.retrieve import PartIndex

T = TypeVar("T")
MAX_QUESTIONS = 64
LEAST_QUESTIONS = 8  # of each part, however many there are, if it has learned so many


@dataclass(frozen=True)
class Question:
    """One question and the answer that counts as right.

    Attributes:
        sentence: the one that the answer was taken from, if any.
        kind: "held_out" where it was kept out of training, "recall" where it is one of the training's own.
    """

    question: str
    answer: str
    sentence: str = ""
    kind: Literal["held_out", "recall"] = "recall"


@dataclass(frozen=True)
class Exam:
    """What a candidate, or one part of it, is asked about its documents.

    Attributes:
        passages: where retrieval looks for answers.
    """

    questions: Sequence[Question]
    passages: Sequence[Shown] = ()


@dataclass(frozen=True)
class Posed:
    """One question, the adapter that learned its answer, and the one that selection picks for it."""

    question: Question
    own: str
    picked: str


def pose(exams: Mapping[str, Exam]) -> list[Posed]:
    """Return at most `MAX_QUESTIONS` of a candidate, of several parts evenly, each with who is to answer it."""
    if len(exams) == 1:
        [(name, exam)] = exams.items()
        return [Posed(question, name, name) for question in exam.questions[:MAX_QUESTIONS]]
    index, names = PartIndex([[one.text for one in exam.passages] for exam in exams.values()]), list(exams)
    most = max(LEAST_QUESTIONS, MAX_QUESTIONS // len(exams))
    return [
        Posed(question, name, names[index.pick(question.question)])
        for name, exam in exams.items()
        for question in spread(exam.questions, most)
    ]


def spread(items: Sequence[T], most: int) -> list[T]:
    """Take at most so many, evenly from beginning to end."""
    if most < 1:
        return []
    step = max(1, -(-len(items) // most))
    return list(items[::step])
