"""What of a version selection goes by: texts to find it by, and questions that are its own; each of bounded size."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
PROBES = 8
_PASSAGES_CHARACTERS, _QUESTIONS_CHARACTERS = 200_000, 100_000
_WORDED_BY_US = {"replay", "gap", "passage", "reworded"}  # about nothing of the version's, or its own once more


@dataclass(frozen=True)
class Excerpt:
    """A version's texts, and some of the questions that its gate asks."""

    texts: list[str]
    probes: list[str]


def excerpt(
    documents: Sequence[str],
    passages: Iterable[Mapping[str, Any]],
    examples: Sequence[Mapping[str, Any]],
    questions: Iterable[Mapping[str, Any]],
    *,
    is_named: bool = False,
) -> Excerpt:
    """Choose from the rows of a version's files, or of one part's.

    Args:
        documents: the names of all of the version's.
        is_named: the version's first part has these names already; twice they would count twice.
    """
    asked = [text for row in examples if (text := _asked(row))]
    sources = [str(row.get("document", "")) for row in examples if row.get("origin") == "pair"]
    named = set(documents) if is_named else set()
    names = " ".join(one for one in dict.fromkeys([*documents, *sources]) if one not in named)
    texts = [
        names[:2000],
        *within([str(row["text"]) for row in passages], _PASSAGES_CHARACTERS),
        *within(asked, _QUESTIONS_CHARACTERS),
    ]
    return Excerpt(texts, evenly([str(row["question"]) for row in questions], PROBES))


def within(texts: Sequence[str], most_characters: int) -> list[str]:
    """Return texts from all over a list that are not longer together; each one once."""
    distinct = list(dict.fromkeys(text for text in texts if text.strip()))
    total = sum(map(len, distinct))
    if total <= most_characters:
        return distinct
    kept, left = [], most_characters
    for text in evenly(distinct, max(1, len(distinct) * most_characters // total)):
        left -= len(text)
        if left >= 0:
            kept.append(text)
    return kept


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return exactly so many of a list, or all where there are fewer, from all over it."""
    if len(items) <= most:
        return list(items)
    return [items[at * len(items) // most] for at in range(most)]


def _asked(row: Mapping[str, Any]) -> str:
    """Return what a trained example is found by: its question, and the answer of a pair, which no passage holds.

    Nothing of a row that no trainer wrote.
    """
    question, origin = row.get("question"), row.get("origin")
    if not isinstance(question, str) or not isinstance(origin, str | None) or origin in _WORDED_BY_US:
        return ""
    return f"{question} {row.get('answer', '')}" if origin == "pair" else question
