"""BM25 over a version's passages, in any script: what serving finds and what the gate finds are the same."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

# Where JAX is installed bm25s tries it out at import: JAX takes three quarters of a GPU's memory then, and its threads
# abort a fork that searches, as a trainer's does.
_hidden = sys.modules.setdefault("jax", None)  # type: ignore[arg-type]  # None: cannot be imported

import bm25s  # noqa: E402 - JAX is hidden first

if _hidden is None:
    del sys.modules["jax"]

from app.core.context import Shown  # noqa: E402
from app.core.grounding import MARKS, QUESTION_MARKS, SPACELESS, STOP_WORDS, content_words, fold  # noqa: E402
from app.core.sentences import sentences  # noqa: E402

PASSAGES, SENTENCES = 3, 3
_SAYS = 3  # words of meaning, at least
_WORD = re.compile(rf"\w+(?:[{MARKS}]\w*)*")
_STEM = 5  # letters; a longer word is also found by so many: plurals and endings in most languages, with no word list
_RUN = re.compile(f"{SPACELESS.pattern}+")


def terms(text: str) -> list[str]:
    """Return what a text is found by: its words, and how the longer ones begin."""
    words = _words(text)
    return words + [f"{word[:_STEM]}*" for word in words if len(word) > _STEM]


@dataclass(frozen=True)
class Hit:
    """A passage that was found; `index` is its place among the passages, `score` BM25's, above 0."""

    index: int
    text: str
    score: float


class PassageIndex:
    """An index of one version's passages; immutable, so threads may share it."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = list(texts)
        self._bm25 = bm25s.BM25()
        words = [terms(text) for text in self._texts]
        self._empty = not any(words)
        if not self._empty:
            self._bm25.index(words, show_progress=False)

    def search(self, question: str, k: int) -> list[Hit]:
        """Return the `k` best passages that share a word of meaning with the question, best first."""
        words = [term for term in terms(question) if term not in STOP_WORDS]
        if self._empty or not words:
            return []
        found, scores = self._bm25.retrieve(
            [words], k=min(k, len(self._texts)), show_progress=False, backend_selection="numpy"
        )
        pairs = zip(found[0].tolist(), scores[0].tolist(), strict=True)
        return [Hit(index, self._texts[index], round(score, 4)) for index, score in pairs if score > 0]


def best_sentences(question: str, passages: Sequence[Shown]) -> list[Shown]:
    """Return the sentences of prose that are nearest to a question, best first, each as the answer to its own words.

    A small model reads little in a long prompt and answers as it seems to have answered before. A pair is such an
    answer as it is, a question is none; where words are not spaced there are none to ask by.
    """
    pairs = "\n".join(one.text for one in passages if one.answer_start)
    told = [sentence for one in passages if not one.answer_start for sentence in sentences(one.text)]
    asked = [
        Shown.of_pair(" ".join(word for word in sentence.split() if content_words(word)), sentence)
        for sentence in dict.fromkeys(told)
        if sentence not in pairs and _tells(sentence)
    ]
    return [asked[hit.index] for hit in PassageIndex([one.answer for one in asked]).search(question, SENTENCES)]


class PartIndex:
    """One index over the passages of all parts of a version; pairs are passages too, question and answer."""

    def __init__(self, passages: Sequence[Sequence[str]]) -> None:
        self._index = PassageIndex([text for part in passages for text in part])
        self._parts = [number for number, part in enumerate(passages) for _ in part]

    def search(self, question: str, k: int) -> list[Hit]:
        """Return the best passages, whichever part learned them."""
        return self._index.search(question, k)

    def pick(self, question: str) -> int:
        """Return the part, from 0, that learned the best passage; the first where none is found."""
        return next((self._parts[hit.index] for hit in self.search(question, 1)), 0)


def _tells(sentence: str) -> bool:
    asks = sentence.rstrip("\"')»”’").endswith(QUESTION_MARKS)
    return not asks and not SPACELESS.search(sentence) and len(content_words(sentence)) >= _SAYS


def _words(text: str) -> list[str]:
    """Cut text into words; scripts without spaces into pairs of characters."""
    words: list[str] = []
    for word in _WORD.findall(fold(text).replace("_", " ")):
        words += _RUN.sub(" ", word).split()
        for run in _RUN.findall(word):
            words += [run[i : i + 2] for i in range(max(1, len(run) - 1))]
    return words
