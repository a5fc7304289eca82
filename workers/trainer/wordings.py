"""Further wordings of a question, as users shorten it in their own way: a random choice of its words."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.core.grounding import QUESTION_MARKS, SPACELESS, STOP_WORDS, content_words, normalise

KEPT, SMALL = 0.85, 0.5  # the chance that a word is kept, and a small word
TOPIC = 0.3  # how often a topic is added
MOST = 0.6  # of the telling words, where the longest is not among them
LONGEST = 40  # words; a longer question is a text of its own
_SLIGHT = frozenset("i you we me my your our us am can may will should would could must if not get".split())  # noqa: SIM905
_TURNS = frozenset(  # turn a question into its opposite
    """
    not no never nor neither cannot without except only nicht kein keine keinen keiner nie ohne nur ne pas jamais sans
    sauf sin nunca non mai senza não sem не нет без
    """.split()  # noqa: SIM905 - a list of quoted words is harder to read
)


@dataclass(frozen=True)
class Worded:
    """A question with what stands before it and stays there, and its answer."""

    front: str
    question: str
    answer: str


class Wordings:
    """Words questions anew; none of the new ones could mean another question that has another answer."""

    def __init__(self, answered: Iterable[Worded], seed: int) -> None:
        """Take every question that could be meant."""
        self._answered = list(answered)
        self._asked = {normalise(one.front + one.question) for one in self._answered}
        self._places: dict[str, set[int]] = {}
        for place, one in enumerate(self._answered):
            for word in content_words(one.question):
                self._places.setdefault(word, set()).add(place)
        self._rng = random.Random(seed)

    def of(self, one: Worded, count: int, topic: str = "") -> list[str]:
        """Return at most so many, each but once; a script without spaces has no words to choose from.

        Args:
            topic: what the question is about, added to some.
        """
        drawn = dict.fromkeys(self._drawn(one, count, topic))
        return [text for text in drawn if normalise(text) not in self._asked]

    def _drawn(self, one: Worded, count: int, topic: str) -> Iterator[str]:
        bare = one.question.rstrip("".join(QUESTION_MARKS) + " ")
        words = [] if SPACELESS.search(bare) or "\n" in bare else bare.split()
        telling = content_words(bare) - _SLIGHT or content_words(bare)
        longest = max(telling, key=lambda word: (len(word), word), default="")
        for _ in range(count if len(words) <= LONGEST else 0):
            text = " ".join(word for word in words if self._rng.random() < _chance(word))
            kept = content_words(text) & telling
            if longest in kept or (kept and len(kept) >= MOST * len(telling)):
                about = f" at {topic}" if topic and self._rng.random() < TOPIC else ""
                if self._means(one.front, text) <= {one.answer}:
                    yield one.front + text + about + one.question[len(bare) :]

    def _means(self, front: str, text: str) -> set[str]:
        """Return the answers of all questions that have a text's words of meaning."""
        places = sorted((self._places.get(word, set()) for word in content_words(text)), key=len)
        meant = [self._answered[place] for place in set.intersection(*places)]
        return {one.answer for one in meant if one.front == front}


def _chance(word: str) -> float:
    """Return how often a word is kept: always where another number, or its opposite, would be asked for without it."""
    plain = word.casefold().strip(".,;:!?\"'()")
    if any(char.isdigit() for char in word) or plain in _TURNS or plain.endswith(("n't", "n’t")):
        return 1.0
    return KEPT * (SMALL if plain in STOP_WORDS else 1)
