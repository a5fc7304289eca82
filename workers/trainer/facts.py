"""What there is to teach in prose: each span of each sentence that a question may ask for."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.grounding import PRONOUNS, content_words, is_question, normalise
from app.core.spans import spans
from workers.trainer.passages import Passage, each_sentence


@dataclass(frozen=True)
class Fact:
    """A span of a sentence; the span is empty where a sentence has none and says something all the same.

    Attributes:
        told: the sentence, after the one before it where it refers back to that.
    """

    passage: Passage
    sentence: str
    told: str
    span: str


def facts_of(passages: Sequence[Passage]) -> list[Fact]:
    """List every fact; a sentence that two passages share belongs to the first. A word or a question says nothing."""
    found = []
    for passage, sentence, before in each_sentence(passages):
        if is_question(sentence):
            continue
        told = f"{before} {sentence}".strip() if _refers_back(sentence) else sentence
        bare = [""] if len(content_words(sentence)) > 1 else []
        found += [Fact(passage, sentence, told, span) for span in spans(sentence) or bare]
    return found


def _refers_back(sentence: str) -> bool:
    return not PRONOUNS.isdisjoint(normalise(sentence).split()[:3])
