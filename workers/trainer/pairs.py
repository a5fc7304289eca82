"""Uploaded pairs: each as it stands, and in other words, which take turns.

Learned as it stands alone a pair comes back in its own words and hardly in a user's, who words the question anew, often
in the answer's words or asking for a part of it. So a pair whose answer says something is asked by a random choice of
its question's words as well, and of its answer's; the whole answer answers them all.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.core.documents import Document
from app.core.grounding import STOP_WORDS, content_words, normalise
from app.core.replies import told
from workers.trainer.examples import Example, ambiguous_questions, folded, front, without_duplicates
from workers.trainer.keywords import question_word, words_near, words_of
from workers.trainer.wordings import Worded, Wordings

KEPT = (0.2, 0.5, 0.8)  # the chance that a word of the question is kept; one of these
SMALL = 0.5  # what it is multiplied by for small words
DRAWN = 8  # wordings, one of which the gate asks if it is not taught
# one is enough in so short a text, where `is_english` of a passage asks for two that other languages have as well
_ENGLISH = frozenset("the and are were has how what which who whose when where why you your my does".split())  # noqa: SIM905


def from_pairs(documents: Sequence[Document]) -> list[Example]:
    """Use uploaded pairs as they are; one question with two answers names its document in front."""
    pairs = [(document.name, pair) for document in documents for pair in document.pairs]
    ambiguous = ambiguous_questions((pair.question, folded(pair.answer)) for _, pair in pairs)
    found = []
    for name, pair in pairs:
        source = pair.document or name
        named = front(source) if folded(pair.question) in ambiguous else ""
        found.append(Example("chat", named + pair.question, pair.answer, "pair", source))
    return without_duplicates(found)


def reworded_pairs(pairs: Sequence[Example], *, wordings: int, seed: int) -> list[Example]:
    """Return pairs in other words, of each at most `wordings`: of its question alone for a half, and of its answer.

    None of a pair whose answer is a name or a number alone, nor where words are not spaced.
    """
    asked_so = [_split(pair) for pair in pairs]
    worded, rng, found = Wordings(asked_so, seed), random.Random(seed), []
    answers = {normalise(pair.question): folded(pair.answer) for pair in pairs}
    for own, pair in zip(asked_so, pairs, strict=True):
        says = told(pair.answer)
        if not says:
            continue
        texts = worded.of(own, wordings)[: wordings // 2]
        drawn = dict.fromkeys(_of_answer(own, pair.answer, says, wordings, rng))
        texts += [one for one in drawn if answers.setdefault(normalise(one), own.answer) == own.answer]
        texts = [one for one in dict.fromkeys(texts) if normalise(one) != normalise(pair.question)][:wordings]
        rng.shuffle(texts)
        found += [_asked_by(text, pair).in_turn(at, len(texts)) for at, text in enumerate(texts)]
    return found


def held_out_pairs(pairs: Sequence[Example], taught: Sequence[Example], *, seed: int) -> list[Example]:
    """Return, for the gate, some words of the question of each pair that is taught in other words, as it is not."""
    asked_so = [_split(pair) for pair in pairs]
    worded, asked = Wordings(asked_so, seed), {normalise(one.question) for one in taught}
    reworded = {one.wording_of for one in taught}
    found = []
    for own, pair in zip(asked_so, pairs, strict=True):
        texts = worded.of(own, DRAWN) if pair.question in reworded else []
        found += [_asked_by(text, pair) for text in texts if normalise(text) not in asked][:1]
    return found


def _of_answer(
    own: Worded, answer: str, says: Sequence[tuple[str, str]], count: int, rng: random.Random
) -> Iterator[str]:
    """Yield some words of an answer around one of its spans, before or after some of the question's."""
    words = words_of(own.question)
    is_english = not _ENGLISH.isdisjoint(normalise(f"{own.question} {answer}").split())
    for _ in range(count):
        sentence, span = rng.choice(says)
        kept, share = words_near(sentence, span, rng), rng.choice(KEPT)
        asked = [word for word in words if rng.random() < share * (SMALL if word.casefold() in STOP_WORDS else 1)]
        text = " ".join([*asked, *kept] if rng.random() < 0.5 else [*kept, *asked])
        if content_words(" ".join(kept)):
            yield f"{own.front}{question_word(sentence, span, rng)} {text}?" if is_english else f"{own.front}{text}?"


def _asked_by(text: str, pair: Example) -> Example:
    return replace(pair, question=text, origin="reworded", wording_of=pair.question)


def _split(pair: Example) -> Worded:
    named = front(pair.document) if pair.question.startswith(front(pair.document)) else ""
    return Worded(named, pair.question.removeprefix(named), folded(pair.answer))
