"""Which facts of prose have an example, and of which origins; a gap to fill for those that none asks for."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from app.core.grounding import CHARACTER, SPACELESS, WORD, content_words, holds, normalise
from workers.trainer.examples import Example, gap
from workers.trainer.facts import Fact

_PIECE = re.compile(rf"{CHARACTER.pattern}|(?:(?!{SPACELESS.pattern}).)+")  # a character, or a word beside such
ASKING = frozenset({"asked", "generated", "keywords", "gap"})  # origins that ask for a fact, not only tell it


@dataclass(frozen=True)
class Covered:
    """One fact, with the number of its examples by origin."""

    document: str
    passage: int
    sentence: str
    span: str
    origins: Mapping[str, int]

    @property
    def is_asked(self) -> bool:
        """Whether an example asks for it."""
        return not ASKING.isdisjoint(self.origins)


@dataclass(frozen=True)
class Coverage:
    """What a version's examples cover.

    Attributes:
        dropped: how many generated examples each filter took out.
    """

    facts: list[Covered] = field(default_factory=list)
    dropped: Mapping[str, int] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Return the numbers, with no text in them: an origin counts the facts that it has an example of."""
        by_origin = Counter(origin for fact in self.facts for origin in fact.origins)
        asked = sum(fact.is_asked for fact in self.facts)
        return {
            "facts": len(self.facts),
            "covered": asked,
            "by_origin": dict(sorted(by_origin.items())),
            "dropped": dict(sorted(self.dropped.items())),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return a JSON-ready row for each fact."""
        return [asdict(fact) for fact in self.facts]

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read the JSON form back."""
        return cls([Covered(**row) for row in fields["facts"]], fields["dropped"])


def cover(facts: Sequence[Fact], examples: Sequence[Example]) -> list[Covered]:
    """Find the examples of each fact: questions of its sentence whose answer holds it, texts of its passage that do."""
    by_sentence: dict[tuple[str, str], list[Example]] = {}
    texts: dict[tuple[str, int | None], list[Example]] = {}
    for one in examples:
        if one.sentence:
            by_sentence.setdefault((one.document, one.sentence), []).append(one)
        else:
            texts.setdefault((one.document, one.passage), []).append(one)
    found = []
    for fact in facts:
        document, index = fact.passage.document, fact.passage.index
        near = [one for told in {fact.sentence, fact.told} for one in by_sentence.get((document, told), ())]
        origins = Counter(one.origin for one in near if _holds(one.answer, fact.span))
        wanted = fact.span or fact.sentence
        origins += Counter(one.origin for one in texts.get((document, index), ()) if _holds(one.answer, wanted))
        found.append(Covered(document, index, fact.sentence, fact.span, dict(sorted(origins.items()))))
    return found


def fill(facts: Sequence[Fact], examples: Sequence[Example]) -> list[Example]:
    """Return a gap to fill for each fact that no example asks for."""
    asked = cover(facts, examples)
    return [_gap(fact) for fact, found in zip(facts, asked, strict=True) if not found.is_asked]


def _gap(fact: Fact) -> Example:
    return gap(fact.sentence, fact.span or _end(fact.sentence), fact.passage)


def _end(sentence: str) -> str:
    """Return the last word or sign for one; of a script without spaces a third of the last clause, or two characters.

    It is less where that would leave nothing to tell the sentence by.
    """
    word = (WORD.findall(sentence.replace("_", " ")) or [sign for sign in sentence if normalise(sign)])[-1]
    pieces = _PIECE.findall(word)
    ends = ("".join(pieces[-count:]) for count in range(max(2, len(pieces) // 3), 0, -1))
    return next((one for one in ends if content_words(sentence[: sentence.rindex(one)])), pieces[-1])


def _holds(answer: str, span: str) -> bool:
    return not span or answer == span or holds(answer, span)
