"""Documents cut into passages, counted in the base model's own tokens."""

from dataclasses import dataclass
from typing import Any

from semantic_text_splitter import TextSplitter


@dataclass(frozen=True)
class Passage:
    """A stretch of one document; `start` and `end` are character offsets in its text."""

    document: str
    index: int
    start: int
    end: int
    text: str


def cut(text: str, document: str, tokenizer: Any, *, tokens: int, overlap_tokens: int) -> list[Passage]:
    """Cut a text at the most natural places, into passages of at most `tokens` tokens.

    Args:
        overlap_tokens: neighbours share at most so many.
    """
    splitter = TextSplitter.from_huggingface_tokenizer(tokenizer.backend_tokenizer, tokens, overlap_tokens)
    return [
        Passage(document, index, start, start + len(piece), piece)
        for index, (start, piece) in enumerate(splitter.chunk_indices(text))
    ]
