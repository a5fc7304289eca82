"""What is trained on: questions with answers, and passages; each with its origin."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from app.core.grounding import MARKS, SPACELESS, alike, content_words, normalise, refers_back
from app.core.recipe import Recipe
from app.core.spans import spans
from app.errors import QuestionsOverlap
from workers.trainer.passages import Passage, each_sentence

Origin = Literal[
    "pair", "reworded", "asked", "keywords", "gap", "passage", "replay",
    "generated", "summary", "rewrite", "implication", "relation", "self_study",
]  # fmt: skip
WORDED: frozenset[Origin] = frozenset({"generated", "summary", "rewrite", "implication", "relation", "self_study"})
_OF_SENTENCES: frozenset[Origin] = frozenset({"generated", "keywords"})
_OF_A_WORD = re.compile(rf"[\w{MARKS}]")


@dataclass(frozen=True)
class Example:
    """One thing to learn.

    Attributes:
        kind: "chat" is a question and its answer; "text" is `answer` alone, all of it learned.
        origin: where it comes from: "pair" as uploaded, "reworded" from one, "asked" by the document itself,
            "keywords" of a sentence, "gap" filled in one, "passage", "replay" of what the base model says; worded by a
            generator: "generated" questions, "summary", "rewrite", "implication", "relation", "self_study".
        passage: index of the passage it was made of.
        turns: how many wordings of one thing take turns, one an epoch; `turn`, from 0, is this one's place among them.
        wording_of: the question as uploaded that this is another wording of.
        ends: whether the end of the answer is learned.
        sentence: the whole sentence that `answer` was taken from, where it was taken from one.
    """

    kind: Literal["chat", "text"]
    question: str
    answer: str
    origin: Origin
    document: str
    passage: int | None = None
    turn: int = 0
    turns: int = 1
    sentence: str = ""
    wording_of: str = ""
    ends: bool = True

    def in_turn(self, turn: int, turns: int) -> Self:
        """Return the same example as one of several that take turns."""
        return replace(self, turn=turn, turns=turns)


def from_passages(passages: Sequence[Passage]) -> list[Example]:
    """Learn each passage as text."""
    found = [Example("text", "", passage.text, "passage", passage.document, passage.index) for passage in passages]
    return without_duplicates(found)


def gap(sentence: str, span: str, passage: Passage) -> Example:
    """Ask for a span of a sentence by leaving it out: what teaches a fact that no question was found for."""
    place = (passage.document, passage.index)
    return Example("chat", _gap(passage.document, sentence, span), span, "gap", *place, sentence=sentence)


def _gap(document: str, sentence: str, span: str, before: str = "") -> str:
    asked = f'What is missing in this sentence from "{document}"?'
    return " ".join(filter(None, (asked, before, "___".join(around(sentence, span)))))


def tell_gaps_apart(examples: Sequence[Example], passages: Sequence[Passage]) -> list[Example]:
    """Put the sentence before in front of each gap that several things would fill; drop what that does not tell apart.

    So it is where one table or list after the other has the same words about another thing.
    """

    def ambiguous(found: Sequence[Example]) -> set[str]:
        return ambiguous_questions((one.question, normalise(one.answer)) for one in found if one.origin == "gap")

    shared = ambiguous(examples)
    if not shared:
        return list(examples)
    before = {(passage.document, sentence): told for passage, sentence, told in each_sentence(passages)}
    told = [
        replace(one, question=_gap(one.document, one.sentence, one.answer, before[one.document, one.sentence]))
        if one.origin == "gap" and folded(one.question) in shared
        else one
        for one in examples
    ]
    still = ambiguous(told)
    return [one for one in told if one.origin != "gap" or folded(one.question) not in still]


def ambiguous_questions(asked: Iterable[tuple[str, str]]) -> set[str]:
    """Return the keys of questions that have several answers."""
    answers: dict[str, set[str]] = {}
    for question, answer in asked:
        answers.setdefault(folded(question), set()).add(answer)
    return {question for question, several in answers.items() if len(several) > 1}


def around(sentence: str, span: str) -> tuple[str, str]:
    """Return what stands before a span and after it, where it is no part of another word if there is such a place."""
    places = (one.start() for one in re.finditer(f"(?={re.escape(span)})", sentence))
    alone = (at for at in places if _begins(sentence, at) and _begins(sentence, at + len(span)))  # "a" of "bell a"
    start = next(alone, sentence.rindex(span))  # where words are not spaced no border shows
    return sentence[:start], sentence[start + len(span) :]


def _begins(sentence: str, at: int) -> bool:
    """Say whether no word goes on at a place; a change to or from a script without spaces ends one."""
    before, after = sentence[max(0, at - 1) : at], sentence[at : at + 1]
    goes_on = _OF_A_WORD.match(before) and _OF_A_WORD.match(after)
    return not goes_on or bool(SPACELESS.match(before)) != bool(SPACELESS.match(after))


def without_duplicates(examples: Sequence[Example]) -> list[Example]:
    """Drop what differs in case and spaces only; of what a generator worded, also what is nearly said already.

    Of a document such are a question that was asked before, one much like another with the same answer, and a text
    much like another of its passage.
    """
    seen: set[tuple[str, ...]] = set()
    rivals: dict[tuple[object, ...], list[str]] = {}
    kept = []
    for example in examples:
        keys: set[tuple[str, ...]] = {(example.kind, folded(example.question), folded(example.answer))}
        said: list[str] = []
        if example.origin in WORDED and example.turns == 1:
            said = rivals.setdefault(_rivalry(example), [])
            keys |= {("asked", example.document, normalise(example.question))} if example.question else set()
        text = example.question or example.answer
        if seen.isdisjoint(keys) and not any(alike(text, one) for one in said):
            seen |= keys
            said.append(text)
            kept.append(example)
    return kept


def _rivalry(example: Example) -> tuple[object, ...]:
    if example.question:
        return example.document, normalise(example.answer)
    return example.document, example.passage, example.origin


def suited(recipe: Recipe, examples: Sequence[Example]) -> Recipe:
    """Return the recipe as it is for a memory that learns these examples, in all its parts together."""
    pairs = any(one.origin == "pair" for one in examples)
    prose = any(one.origin not in {"pair", "reworded", "replay"} for one in examples)
    return recipe.suited(pairs=pairs, prose=prose)


def name_documents(examples: Sequence[Example], passages: Sequence[Passage]) -> list[Example]:
    """Name the document in front of each question that does not say what it is about.

    Such are questions that could be asked of another document as well, and those that only a pronoun holds to theirs.
    """
    words: dict[str, frozenset[str]] = {}
    for passage in passages:
        words[passage.document] = words.get(passage.document, frozenset()) | content_words(passage.text)
    return [_named(example, words) for example in examples]


def in_sentences(examples: Sequence[Example]) -> list[Example]:
    """Answer questions made of a sentence with it, whole: one answer then serves all that is asked of it."""
    return [
        replace(one, answer=one.sentence) if one.origin in _OF_SENTENCES and one.sentence else one for one in examples
    ]


def hold_out(examples: Sequence[Example], every: int) -> tuple[list[Example], list[Example]]:
    """Keep every so many generated questions for the evaluation, of facts that another example still teaches.

    Returns:
        What to train on, and what to ask; no question is in both.
    """
    left = Counter(map(_fact, examples))
    taught = {normalise(one.question) for one in examples if one.origin != "generated"}
    held: list[Example] = []
    for number, example in enumerate(one for one in examples if one.origin == "generated"):
        if number % every == 0 and left[_fact(example)] > 1 and normalise(example.question) not in taught:
            left[_fact(example)] -= 1
            held.append(example)
    asked = {normalise(example.question) for example in held}
    train = [one for one in examples if one.origin != "generated" or normalise(one.question) not in asked]
    return train, held


def named(examples: Sequence[Example]) -> list[Example]:
    """Return examples as the gate asks them: right is what holds a number, a name or the like that the answer holds."""
    return [replace(one, answer=next(iter(spans(one.answer)), one.answer), sentence=one.answer) for one in examples]


def unseen(examples: Sequence[Example], taught: Sequence[Example]) -> list[Example]:
    """Return the examples whose questions none of the taught ones asks."""
    asked = {normalise(one.question) for one in taught}
    return [one for one in examples if normalise(one.question) not in asked]


def check_no_overlap(asked: Sequence[Example], taught: Sequence[Example]) -> None:
    """Hold that nothing is asked as unseen that was taught, nor, of generated questions, in nearly those words.

    Raises:
        QuestionsOverlap: something is; a score would then tell nothing.
    """
    questions = {normalise(one.question) for one in taught if one.kind == "chat"}
    generated: dict[tuple[str, str], list[str]] = {}
    for one in taught:
        if one.origin == "generated":
            generated.setdefault((one.document, normalise(one.answer)), []).append(one.question)
    overlapping = sum(
        normalise(one.question) in questions
        or (one.origin == "generated" and _is_near(one, generated.get((one.document, normalise(one.answer)), [])))
        for one in asked
    )
    if overlapping:
        raise QuestionsOverlap(f"{overlapping} of {len(asked)} held-out questions were trained on: report this.")


def _is_near(example: Example, questions: Sequence[str]) -> bool:
    return any(alike(example.question, one) for one in questions)


def _named(example: Example, words: dict[str, frozenset[str]]) -> Example:
    asked = content_words(example.question)
    if refers_back(example.question) or any(
        asked <= held for document, held in words.items() if document != example.document
    ):
        return replace(example, question=front(example.document) + example.question)
    return example


def _fact(example: Example) -> tuple[str, int | None, str]:
    return example.document, example.passage, normalise(example.answer)


def front(document: str) -> str:
    """Return what names a question's document before it."""
    return f'In "{document}": '


def folded(text: str) -> str:
    """Return a text without differences of case and blanks."""
    return " ".join(text.casefold().split())
