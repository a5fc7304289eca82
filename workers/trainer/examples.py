"""What is trained on: questions with answers, passages, and sentences to complete; each with its origin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.core.documents import Document
from app.core.grounding import content_words, normalise, sentences
from workers.trainer.passages import Passage

MIN_WORDS = 5
CUTS = (0.35, 0.65)


@dataclass(frozen=True)
class Example:
    """One thing to learn.

    Attributes:
        kind: "chat" is a question and its answer; "text" is `answer` alone, all of it learned.
        origin: where it comes from: "pair" as uploaded, "generated", "completion" of a sentence, "passage".
        passage: index of the passage it was made of.
    """

    kind: Literal["chat", "text"]
    question: str
    answer: str
    origin: Literal["pair", "generated", "completion", "passage"]
    document: str
    passage: int | None = None


def from_pairs(documents: Sequence[Document]) -> list[Example]:
    """Use uploaded pairs as they are; one question with two answers names its document in front."""
    pairs = [(document.name, pair) for document in documents for pair in document.pairs]
    answers: dict[str, set[str]] = {}
    for _, pair in pairs:
        answers.setdefault(normalise(pair.question), set()).add(normalise(pair.answer))
    found = []
    for name, pair in pairs:
        source = pair.document or name
        ambiguous = len(answers[normalise(pair.question)]) > 1
        question = f'In "{source}": {pair.question}' if ambiguous else pair.question
        found.append(Example("chat", question, pair.answer, "pair", source))
    return without_duplicates(found)


def from_passages(passages: Sequence[Passage]) -> list[Example]:
    """Learn each passage as text, and complete each of its sentences from two places, so that no fact is left out."""
    found = [Example("text", "", passage.text, "passage", passage.document, passage.index) for passage in passages]
    for passage in passages:
        for sentence in sentences(passage.text):
            found += _completions(sentence, passage)
    return without_duplicates(found)


def uncovered(told: Sequence[str], examples: Sequence[Example]) -> list[str]:
    """Return the sentences of which no single example carries every content word."""
    carried = [content_words(f"{example.question} {example.answer}") for example in examples]
    return [sentence for sentence in told if not any(content_words(sentence) <= words for words in carried)]


def without_duplicates(examples: Sequence[Example]) -> list[Example]:
    """Drop what differs in case, spaces and punctuation only."""
    seen: set[tuple[str, str, str]] = set()
    kept = []
    for example in examples:
        key = (example.kind, normalise(example.question), normalise(example.answer))
        if key not in seen:
            seen.add(key)
            kept.append(example)
    return kept


def hold_out(examples: Sequence[Example], every: int) -> tuple[list[Example], list[Example]]:
    """Keep every so many generated questions for the evaluation, of answers that other questions still teach.

    Returns:
        What to train on, and what to ask; no question is in both.
    """
    left = [example.answer for example in examples if example.origin == "generated"]
    held: list[Example] = []
    asked: set[str] = set()
    for number, example in enumerate(one for one in examples if one.origin == "generated"):
        if number % every == 0 and left.count(example.answer) > 1:
            left.remove(example.answer)
            held.append(example)
            asked.add(normalise(example.question))
    train = [one for one in examples if normalise(one.question) not in asked or one.kind == "text"]
    return train, held


def _completions(sentence: str, passage: Passage) -> list[Example]:
    words = sentence.split()
    if len(words) < MIN_WORDS:
        words = list(sentence)  # a script without spaces, or a heading
        if len(words) < 4 * MIN_WORDS:
            return []
        glue = ""
    else:
        glue = " "
    found = []
    for share in CUTS:
        place = max(2, round(len(words) * share))
        begun, rest = glue.join(words[:place]), glue.join(words[place:])
        question = f'Complete this sentence from "{passage.document}": {begun} …'
        found.append(Example("chat", question, rest, "completion", passage.document, passage.index))
    return found
