"""Questions that documents ask and answer themselves: each as it stands, and in other words, which take turns."""

from collections.abc import Mapping, Sequence

from app.core.asked import Asked, asked
from app.core.documents import Document
from workers.trainer.examples import Example, ambiguous_questions, folded, front
from workers.trainer.keywords import is_english, topic_of
from workers.trainer.passages import Passage
from workers.trainer.wordings import Worded, Wordings

Placed = tuple[Passage, Asked]


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
        wordings: how many further ones of each.
    """
    names = ambiguous_questions((one.question, folded(one.answer)) for _, one in told)
    asked_so = [
        Worded(front(passage.document) if folded(one.question) in names else "", one.question, folded(one.answer))
        for passage, one in told
    ]
    worded, found = Wordings(asked_so, seed), []
    for own, (passage, one) in zip(asked_so, told, strict=True):
        found.append(_example(passage, own.front + one.question, one.answer))
        title = titles.get(passage.document, "")
        topic = "" if title.endswith("?") or not is_english(passage.text) else topic_of(title)
        texts = worded.of(own, wordings, topic)
        found += [_example(passage, text, one.answer).in_turn(at, len(texts)) for at, text in enumerate(texts)]
    return found


def _example(passage: Passage, question: str, answer: str) -> Example:
    return Example("chat", question, answer, "asked", passage.document, passage.index)
