"""Which part of a version learns, asks and finds what: `app.core.partition` applied to passages, pairs and examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.partition import Piece, partition
from workers.trainer.examples import Example
from workers.trainer.passages import Passage


@dataclass(frozen=True)
class Division:
    """The part, from 0, of everything that is learned.

    Attributes:
        parts: how many there are.
        passages: by document and index.
        pairs: by document, question and answer.
    """

    parts: int
    passages: Mapping[tuple[str, int], int]
    pairs: Mapping[tuple[str, str, str], int]

    def of_passage(self, document: str, index: int) -> int:
        """Return the part of a passage."""
        return self.passages[document, index]

    def of_example(self, example: Example) -> int:
        """Return the part of an example: that of the passage or of the pair that it was made of."""
        if example.passage is None:
            return self.pairs[_key(example)]
        return self.passages[example.document, example.passage]


def divide(prose: Sequence[Passage], pairs: Sequence[Example], tokenizer: Any, parts: int) -> Division:
    """Divide passages and pairs among parts by their tokens; there are fewer parts where there is too little."""
    texts = [one.text for one in prose] + [f"{one.question} {one.answer}" for one in pairs]
    counted = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    documents = [one.document for one in prose] + [one.document for one in pairs]
    found = partition([Piece(name, len(ids)) for name, ids in zip(documents, counted, strict=True)], parts)
    passages = {(one.document, one.index): part for one, part in zip(prose, found, strict=False)}
    own = {_key(one): part for one, part in zip(pairs, found[len(prose) :], strict=True)}
    return Division(max(found, default=0) + 1, passages, own)


def _key(pair: Example) -> tuple[str, str, str]:
    return pair.document, pair.wording_of or pair.question, pair.sentence or pair.answer
