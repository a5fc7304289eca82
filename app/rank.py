"""Which of several bodies of text a question is about: BM25 over all of them jointly, in any script.

A body's words are counted once, when its version is published; joining the counts of a thousand bodies into one index
takes a fraction of a second, so that the rarity of a word is always that among the memories that are there.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.core.grounding import STOP_WORDS
from app.core.published import Excerpt
from app.retrieve import terms

SELECTION, FORMAT = "selection.json", 2
_ARRAYS = ("word", "text", "count", "lengths")
_K1, _B = 1.5, 0.75
_BEST = 0.5 ** np.arange(4)  # a body's best texts count, each half as much as the one before
Ints = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Counted:
    """The words of one body of texts, counted.

    Attributes:
        words: its distinct terms.
        word, text, count: how often the term with this place in `words` occurs in which text.
        lengths: of the texts, in terms.
    """

    words: tuple[str, ...]
    word: Ints
    text: Ints
    count: Ints
    lengths: Ints

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Count texts."""
        places: dict[str, int] = {}
        counts = [Counter(terms(text)) for text in texts]
        rows = [
            (places.setdefault(term, len(places)), number, count)
            for number, counted in enumerate(counts)
            for term, count in counted.items()
        ]
        word, text, count = np.array(rows, np.int32).reshape(-1, 3).T
        return cls(tuple(places), word, text, count, np.array([one.total() for one in counts], np.int32))

    def joined(self, other: "Counted") -> "Counted":
        """Return both as one body."""
        places = {term: place for place, term in enumerate(self.words)}
        moved = np.array([places.setdefault(term, len(places)) for term in other.words], np.int32)
        return Counted(
            tuple(places),
            np.concatenate([self.word, moved[other.word]]),
            np.concatenate([self.text, other.text + np.int32(len(self.lengths))]),
            np.concatenate([self.count, other.count]),
            np.concatenate([self.lengths, other.lengths]),
        )

    def to_fields(self) -> dict[str, Any]:
        """Return the value as JSON-ready fields."""
        return {"words": self.words, **{name: getattr(self, name).tolist() for name in _ARRAYS}}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Read the fields back."""
        return cls(tuple(fields["words"]), *(np.array(fields[name], np.int32) for name in _ARRAYS))


@dataclass(frozen=True)
class Published:
    """What `selection.json` holds beside a version's weights.

    Attributes:
        probes: some of the version's own questions, by which thresholds are set.
    """

    body: Counted
    probes: tuple[str, ...]

    @classmethod
    def of(cls, excerpt: Excerpt) -> Self:
        """Count an excerpt."""
        return cls(Counted.of(excerpt.texts), tuple(excerpt.probes))

    def to_json(self) -> str:
        """Return the file's content."""
        fields = {"format": FORMAT, "probes": self.probes, **self.body.to_fields()}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, content: bytes) -> Self | None:
        """Read the file's content; None where another release of Lorekeep counted in another way."""
        fields = json.loads(content)
        if fields["format"] != FORMAT:
            return None
        return cls(Counted.from_fields(fields), tuple(fields["probes"]))


class JointIndex:
    """Scores bodies of texts against questions; immutable, so threads may share it."""

    def __init__(self, bodies: Sequence[Counted]) -> None:
        self._count, self._places = len(bodies), dict[str, int]()
        self._starts = np.cumsum([0, *(len(body.lengths) for body in bodies)])  # of each body's texts, and their end
        moved = [_placed(self._places, body.words) for body in bodies]
        if self._places:
            words = np.concatenate([places[body.word] for places, body in zip(moved, bodies, strict=True)])
            texts = np.concatenate([body.text + start for body, start in zip(bodies, self._starts, strict=False)])
            self._weigh(words, texts, np.concatenate([body.count for body in bodies]), _lengths(bodies))
            self._hold(np.concatenate(moved), np.repeat(np.arange(self._count), [len(places) for places in moved]))

    def score(self, question: str) -> Floats:
        """Return each body's score for a question; 0 where they share no word of meaning.

        It is made of the BM25 scores of the body's best texts, times the root of what the question's words that it
        holds weigh: two words in two texts of one memory tell more than one word in two.
        """
        places = {self._places[term] for term in terms(question) if term not in STOP_WORDS and term in self._places}
        scores, held = np.zeros(self._starts[-1], np.float32), np.zeros(self._count, np.float32)
        for place in places:
            one = slice(self._ends[place], self._ends[place + 1])
            scores[self._texts[one]] += self._weights[one]
            holders = self._holders[self._holder_ends[place] : self._holder_ends[place + 1]]
            held[holders] += _rarity(len(holders), self._count)
        best = np.zeros(self._count, np.float32)
        for body in np.flatnonzero(held):
            top = np.sort(scores[self._starts[body] : self._starts[body + 1]])[: -len(_BEST) - 1 : -1]
            best[body] = top @ _BEST[: len(top)]
        scored: Floats = best * np.sqrt(held)
        return scored

    def _weigh(self, words: Ints, texts: Ints, counts: Ints, lengths: Ints) -> None:
        """Sort the counts by word, and make each one's share of a score of it.

        Paper: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework, equation 3.15
        """
        order = np.argsort(words, kind="stable")
        words, self._texts, counts = words[order], texts[order], counts[order]
        self._ends = np.searchsorted(words, np.arange(len(self._places) + 1))
        idf = _rarity(np.diff(self._ends), self._starts[-1])
        norm = _K1 * (1 - _B + _B * lengths[self._texts] / lengths.mean())
        self._weights = (idf[words] * counts / (counts + norm)).astype(np.float32)

    def _hold(self, words: Ints, bodies: Ints) -> None:
        """Sort the bodies by the words that they hold."""
        order = np.argsort(words, kind="stable")
        self._holders = bodies[order]
        self._holder_ends = np.searchsorted(words[order], np.arange(len(self._places) + 1))


def _placed(places: dict[str, int], words: Sequence[str]) -> Ints:
    """Return the places of words among those of all bodies, which grow by them."""
    return np.array([places.setdefault(word, len(places)) for word in words], np.int32)


def _lengths(bodies: Sequence[Counted]) -> Ints:
    return np.concatenate([body.lengths for body in bodies])


def _rarity(holders: Any, of: int) -> Any:
    """Return the inverse document frequency."""
    return np.log1p((of - holders + 0.5) / (holders + 0.5))
