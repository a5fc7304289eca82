"""Questions made of a sentence's own words: what teaches each fact to many wordings, with no generator at all.

A span of the sentence is the answer. Each question is a question word, a random choice of the words around the span,
and often the title of the document. Read as text they are broken; as training examples they tie every part of a
sentence to every other, so that a question a user words freely lands near one of them. The idea is denoising
(Lewis et al. 2020, BART, section 2.2: token deletion) applied to questions; the choice of words is ours.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from app.core.grounding import COUNT, PRONOUNS, SPACELESS, STOP_WORDS, content_words, is_question, normalise
from app.core.spans import names, spans
from workers.trainer.examples import Example, around, gap
from workers.trainer.labels import Labelled
from workers.trainer.passages import Passage, each_sentence

WIDTHS = (3, 5, 8)  # words on each side of the span that count as near
NEAR, FAR = 0.95, 0.15  # the chance that a word is kept
SMALL = 0.6  # what it is multiplied by for small words
TOPIC = 0.7  # how often a title is added where the question has none of its words
_TIMES = frozenset("second minute hour day week month year millisecond".split())  # noqa: SIM905 - easier to read
_YEAR = re.compile(
    r"\b1\d{3}\b|\b20\d\d\b|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"
)
_ENGLISH = frozenset(["the", "of", "and", "is", "are", "was", "were", "has"])
_WORD_EDGES = '.,;:!?()[]"“”«»'


@dataclass(frozen=True)
class _Told:
    """A sentence, and what a question about it may have to name.

    Attributes:
        before: the names in the sentence before, where this one refers back to it.
        title: what the document calls itself.
        is_english: whether English question words fit.
    """

    passage: Passage
    sentence: str
    before: str
    title: str
    is_english: bool


def keyword_questions(
    passages: Sequence[Passage], titles: Mapping[str, str], *, per_span: int, seed: int, held_out: bool = False
) -> list[Example]:
    """Make questions for every span of every sentence; a sentence that two passages share belongs to the first.

    Of the cells of a table's row most are asked for by their labels.

    A script without spaces has no words to choose from: there each span is asked for with a gap in the sentence. A
    question in which nothing is left to tell the sentence by is left out, as is one that another sentence answers.
    A sentence that is a question itself answers none.

    Args:
        titles: what each document calls itself, by its name.
        per_span: how many for each span; they take turns.
        held_out: those that ask by labels are worded as none is for training.
    """
    rng = random.Random(seed)
    made: list[Example] = []
    answered: dict[str, str] = {}  # by which sentence each question is
    each = [told for told in _sentences(passages, titles) if not is_question(told.sentence)]
    labelled = Labelled.of((told.passage.document, told.sentence) for told in each)
    for told in each:
        cells = labelled.cells(told.passage.document, told.sentence)
        others = [("", span) for span in spans(told.sentence) if span not in cells.values()]
        for label, span in [*cells.items(), *others] if per_span else ():
            drawn = _by_label(labelled, told, label, rng, per_span, held_out=held_out) if label else []
            if SPACELESS.search(told.sentence):
                drawn.append(gap(told.sentence, span, told.passage))
            else:
                worded = (_question(told, span, rng) for _ in range(per_span - len(drawn)))
                drawn += [_example(told, span, question) for question in worded if question]
            own = [
                one
                for one in drawn
                if one.origin == "gap" or answered.setdefault(normalise(one.question), told.sentence) == told.sentence
            ]
            made += [one.in_turn(turn, len(own)) for turn, one in enumerate(own)]
    return made


def _by_label(
    labelled: Labelled, told: _Told, label: str, rng: random.Random, per_span: int, *, held_out: bool
) -> list[Example]:
    """Draw evenly from what a table's label asks of a cell, of what has it, and of its whole row."""
    groups = labelled.questions(told.passage.document, told.sentence, label, held_out=held_out)
    turns = zip_longest(*(rng.sample(group, len(group)) for group in groups))
    return [_example(told, answer, asked) for asked, answer in list(filter(None, chain(*turns)))[:per_span]]


def _example(told: _Told, answer: str, question: str) -> Example:
    place = (told.passage.document, told.passage.index)
    return Example("chat", question, answer, "keywords", *place, sentence=told.sentence)


def _sentences(passages: Sequence[Passage], titles: Mapping[str, str]) -> Iterator[_Told]:
    topics = {name: topic_of(title) for name, title in titles.items()}
    english = {passage: is_english(passage.text) for passage in passages}
    for passage, sentence, before in each_sentence(passages):
        refers_back = not PRONOUNS.isdisjoint(normalise(sentence).split()[:4])
        meant = " ".join(names(before)) if refers_back else ""
        yield _Told(passage, sentence, meant, topics[passage.document], english[passage])


def is_english(text: str) -> bool:
    """Say whether English question words fit a passage."""
    return len(_ENGLISH & set(normalise(text).split())) > 1


def topic_of(title: str) -> str:
    """Return what a title names, without what it adds to that."""
    return re.split(r"[:(–—]", title)[0].strip().removeprefix("The ")


def _question(told: _Told, span: str, rng: random.Random) -> str:
    """Return a question word and some of the sentence's words, in their order; nothing where none says anything."""
    kept = words_near(told.sentence, span, rng)
    if told.before and rng.random() < TOPIC:
        kept.insert(0, told.before)
    text = " ".join(kept)
    says_something = content_words(text)
    if told.title and not content_words(told.title) & content_words(text) and rng.random() < TOPIC:
        text = rng.choice((f"{text} of {told.title}", f"{text} at {told.title}", f"{told.title} {text}"))
    question = f"{question_word(told.sentence, span, rng)} {text}?" if told.is_english else f"{text}?"
    return question if says_something else ""


def words_near(sentence: str, span: str, rng: random.Random) -> list[str]:
    """Draw some of a sentence's words, in their order: most of those near a span, few of the others."""
    before, after = around(sentence, span)
    words = [*words_of(before), "", *words_of(after)]
    place, width = words.index(""), rng.choice(WIDTHS)
    return [word for at, word in enumerate(words) if word and rng.random() < _chance(word, abs(at - place) <= width)]


def _chance(word: str, is_near: bool) -> float:
    folded = word.casefold()
    if folded in PRONOUNS:
        return 0.0
    return (NEAR if is_near else FAR) * (SMALL if folded in STOP_WORDS else 1)


def question_word(sentence: str, span: str, rng: random.Random) -> str:
    """Return an English question word that a span of a sentence may answer; of several, any."""
    last = normalise(around(sentence, span)[0]).rpartition(" ")[2]
    if _YEAR.search(span):
        return rng.choice(("When", "In what year", "On what date"))
    if COUNT.match(span.casefold()):
        unit = normalise(span).rpartition(" ")[2] if " " in span else ""
        how_long = "How long" if unit.removesuffix("s") in _TIMES else "How"
        return rng.choice((f"How many {unit}".strip(), "How much", "What is the number", how_long))
    if span[:1].isupper() and last == "by":
        return rng.choice(("Who", "Who", "Which"))
    if span[:1].isupper() and last in {"in", "at", "on", "from", "of", "near"}:
        return rng.choice(("Where", "Where", "Which", "What"))
    return rng.choice(("Who", "What", "Which", "What is the name") if span[:1].isupper() else ("What", "What", "Which"))


def words_of(text: str) -> list[str]:
    """Return the words of a text without the marks around them."""
    return [word for word in (one.strip(_WORD_EDGES) for one in text.split()) if word]
