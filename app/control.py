"""The control questions: general ones, and ones about things that no memory holds. No memory may answer them.

The gate asks them of every candidate, and the threshold below which selection abstains is set by them. `control.csv`
holds general questions, instructions and requests to decline, each with the words that make an answer right.
`general_questions.csv` holds general ones in other languages, twenty of each; the gate asks none of them.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OTHER, REFUSAL = "other", "refusal"
CONTROL_QUESTIONS = Path(__file__).with_name("control.csv")
_GENERAL_QUESTIONS = Path(__file__).with_name("general_questions.csv")


@dataclass(frozen=True)
class ControlQuestion:
    """One question; an answer is right that holds one of the `expected` words. None are expected of kind `OTHER`."""

    kind: str
    question: str
    expected: tuple[str, ...]

    def is_right(self, said: str) -> bool:
        """Judge an answer; case counts only where the expected word is in capitals."""
        return any(
            re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said, 0 if word.isupper() else re.IGNORECASE)
            for word in self.expected
        )


@cache
def control_questions() -> tuple[ControlQuestion, ...]:
    """Read the questions that the gate asks."""
    return read_questions(CONTROL_QUESTIONS)


@cache
def general_questions() -> dict[str, tuple[str, ...]]:
    """Read the questions in other languages than English, by language: only selection's threshold is set by them."""
    with _GENERAL_QUESTIONS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    languages = dict.fromkeys(row["language"] for row in rows)
    return {one: tuple(row["question"] for row in rows if row["language"] == one) for one in languages}


def read_questions(path: Path) -> tuple[ControlQuestion, ...]:
    """Read a csv of `kind,question,answer`; an answer's alternatives have `|` between them."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        ControlQuestion(row["kind"], row["question"], tuple(filter(None, row["answer"].split("|")))) for row in rows
    )
