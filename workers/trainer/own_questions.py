"""Questions that documents ask and answer themselves: each as it stands, and in some of its words.

Users word them in their own way, so that each has further wordings, which take turns as keyword questions do: a random
choice of its words.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from app.core.asked import Asked, asked
from app.core.documents import Document
from app.core.grounding import SPACELESS, STOP_WORDS, content_words, normalise
from app.core.spans import spans
from workers.trainer.examples import Example, ambiguous_questions, folded
from workers.trainer.keywords import is_english, topic_of
from workers.trainer.passages import Passage

KEPT, SMALL = 0.85, 0.5  # the chance that a word is kept, and a small word
TOPIC = 0.3  # how often a document's title is added
MOST = 0.6  # of the telling words, where the longest is not among them
Placed = tuple[Passage, Asked]
_SLIGHT = frozenset("i you we me my your our us am can may will should would could must if not get".split())  # noqa: SIM905


def questions_of(documents: Sequence[Document], passages: Sequence[Passage]) -> list[Placed]:
    """Return each question with the passage that its answer begins in: the one that asks it, or the next."""
    found: list[Placed] = []
    for document in documents:
        own = [passage for passage in passages if passage.document == document.name]
        texts = [passage.text.replace("**", "").replace("__", "") for passage in own]
        at = 0
        for one in asked(document.text) if own else ():
            at = next((place for place in range(at, len(own)) if one.question in texts[place]), at)
            after = at + 1 < len(own) and one.sentences[0] not in texts[at] and one.sentences[0] in texts[at + 1]
            found.append((own[at + after], one))
    return found


def own_questions(told: Sequence[Placed], titles: Mapping[str, str], *, wordings: int, seed: int) -> list[Example]:
    """Return the questions that prose documents ask and answer; one that has two answers names its document.

    Args:
        told: from `questions_of`.
        titles: what each document calls itself, by its name.
        wordings: how many further ones of each; those that would ask for another answer as well are left out. A script
            without spaces has no words to choose from.
    """
    rng = random.Random(seed)
    names = ambiguous_questions((one.question, folded(one.answer)) for _, one in told)
    found, answers = [], {normalise(one.question): one.answer for _, one in told}
    for passage, one in told:
        front = f'In "{passage.document}": ' if folded(one.question) in names else ""
        found.append(_example(passage, front + one.question, one.answer))
        title = titles.get(passage.document, "")
        topic = "" if title.endswith("?") or not is_english(passage.text) else topic_of(title)
        drawn = dict.fromkeys(_wordings(one.question, topic, wordings, rng))
        own = [text for text in drawn if answers.setdefault(normalise(text), one.answer) == one.answer]
        kept = [text for text in own if normalise(text) != normalise(one.question)]
        found += [_example(passage, front + text, one.answer).in_turn(at, len(kept)) for at, text in enumerate(kept)]
    return found


def reworded(told: Sequence[Placed], titles: Mapping[str, str], *, seed: int) -> list[Example]:
    """Return the questions and another wording of each, for the gate: right is what names what their answers do."""
    found = own_questions(told, titles, wordings=1, seed=seed)
    return [replace(one, answer=_named(one.answer), sentence=one.answer) for one in found]


def _example(passage: Passage, question: str, answer: str) -> Example:
    return Example("chat", question, answer, "asked", passage.document, passage.index)


def _wordings(question: str, topic: str, count: int, rng: random.Random) -> Iterator[str]:
    """Yield wordings that keep what tells the question from others; a script without spaces has no words."""
    words = [] if SPACELESS.search(question) else question.rstrip("?؟ ").split()
    telling = content_words(question) - _SLIGHT or content_words(question)
    longest = max(telling, key=lambda word: (len(word), word), default="")
    for _ in range(count):
        text = " ".join(word for word in words if rng.random() < KEPT * (SMALL if word.casefold() in STOP_WORDS else 1))
        kept = content_words(text) & telling
        if longest in kept or (kept and len(kept) >= MOST * len(telling)):
            yield f"{text} at {topic}?" if topic and rng.random() < TOPIC else f"{text}?"


def _named(answer: str) -> str:
    """Return a number, a name or the like that an answer holds; the answer where it has none."""
    return next(iter(spans(answer)), answer)
