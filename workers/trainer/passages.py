"""Documents cut into passages, counted in the base model's own tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import Any

from semantic_text_splitter import TextSplitter

from app.core.sentences import sentences_of_line, unmarked, unwrapped


@dataclass(frozen=True)
class Passage:
    """A stretch of one document, unwrapped; `start` and `end` are character offsets in its text.

    Attributes:
        answer_start: where in the text the answer of an uploaded pair begins; 0 of prose.
    """

    document: str
    index: int
    start: int
    end: int
    text: str
    answer_start: int = 0


def cut(text: str, document: str, tokenizer: Any, *, tokens: int, overlap_tokens: int) -> list[Passage]:
    """Cut a text at the most natural places, into passages of at most `tokens` tokens.

    Args:
        overlap_tokens: neighbours share at most so many.
    """
    splitter = TextSplitter.from_huggingface_tokenizer(tokenizer.backend_tokenizer, tokens, overlap_tokens)
    return [
        Passage(document, index, start, start + len(piece), piece)
        for index, (start, piece) in enumerate(splitter.chunk_indices(unwrapped(text)))
    ]


def each_sentence(passages: Sequence[Passage]) -> Iterator[tuple[Passage, str, str]]:
    """Yield each sentence with its passage and the sentence before it; one that two passages share, of the first."""
    seen: set[tuple[str, str]] = set()
    for passage, lines in _unmarked(passages):
        before = ""
        for sentence in chain(*map(sentences_of_line, lines)):
            if (passage.document, sentence) not in seen:
                seen.add((passage.document, sentence))
                yield passage, sentence, before
            before = sentence


def _unmarked(passages: Sequence[Passage]) -> Iterator[tuple[Passage, list[str]]]:
    """Yield each passage with its lines, without the marks that these have among all lines of the document."""
    for _, group in groupby(passages, key=lambda passage: passage.document):
        own = [(passage, passage.text.split("\n")) for passage in group]
        lines = iter(unmarked([line for _, told in own for line in told]))
        yield from ((passage, list(islice(lines, len(told)))) for passage, told in own)
