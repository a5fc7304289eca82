"""Questions about passages from any chat model, kept only if they rest on the text and survive a round trip.

Answer-aware: a span of a sentence is the answer, the generator words the question, and, shown the sentence alone,
must answer it back right. Weak generators write many bad questions; what survives is few and mostly true, so facts
have keyword questions too, and some of what survives here is kept for the gate.
"""

from collections import Counter
from dataclasses import dataclass

from app.core.grounding import fits, is_grounded, matches, normalise
from workers.trainer import prompts
from workers.trainer.calls import Calls, all_of
from workers.trainer.examples import Example
from workers.trainer.facts import Fact
from workers.trainer.prompts import Shot
from workers.trainer.sources import Made, Source, Tick

SAMPLES = 4
PARAPHRASES = 3
FACTS_PER_QUESTION = 2  # asked for: a weak generator words a question that survives for about half of them
QUESTION_TOKENS, ANSWER_TOKENS = 40, 24
TEMPERATURE, HOTTER, HOTTEST = 0.7, 0.2, 1.1


@dataclass(frozen=True)
class Questions:
    """Questions that spans of sentences answer.

    Attributes:
        count: at most so many are kept of a passage, spread over its facts; only twice so many facts are asked for.
        gap_rounds: further rounds, hotter, for the facts without a question; they show the questions found so far, and
            are spared a passage without any.
    """

    count: int
    gap_rounds: int

    def steps(self, source: Source) -> int:
        """See `Kind`: one for each fact."""
        return len(_asked(source, self.count))

    async def make(self, source: Source, calls: Calls, tick: Tick) -> Made:
        """See `Kind`."""
        facts, dropped = _asked(source, self.count), Counter[str]()
        found: dict[Fact, list[str]] = {fact: [] for fact in facts}

        async def seek(fact: Fact, turn: int, shots: list[Shot]) -> None:
            temperature = min(HOTTEST, TEMPERATURE + turn * HOTTER)
            found[fact] = await _word(fact, calls, temperature, shots, dropped)
            if turn == 0:
                await tick()

        for turn in range(1 + self.gap_rounds):
            shots = [Shot(fact.told, fact.span, asked[0]) for fact, asked in found.items() if asked]
            if turn and not shots:  # nothing to show: it would be as lost again
                break
            await all_of(seek(fact, turn, shots) for fact, asked in list(found.items()) if not asked)
        examples, most = _spread(found), self.count
        dropped["over_limit"] += max(0, len(examples) - most)
        return Made(examples[:most], dropped)


def _asked(source: Source, count: int) -> list[Fact]:
    """Return the facts that are asked for: all, or so many spread over the passage."""
    facts = [fact for fact in source.facts if fact.span]
    return facts[:: max(1, -(-len(facts) // (FACTS_PER_QUESTION * count)))]


async def _word(fact: Fact, calls: Calls, temperature: float, shots: list[Shot], dropped: Counter[str]) -> list[str]:
    """Have a question worded a few times; return those that come back right."""
    asking = prompts.asking(fact.told, fact.span, shots)
    texts = await all_of(calls(asking, temperature, QUESTION_TOKENS) for _ in range(SAMPLES))
    worded = {normalise(question): question for question in map(prompts.first_question, texts)}
    grounded = [one for one in worded.values() if is_grounded(one, fact.span, fact.told)]
    fitting = [one for one in grounded if fits(one, fact.span)]
    replies = await all_of(calls(prompts.answering(fact.told, one), 0.0, ANSWER_TOKENS) for one in fitting)
    right = [one for one, reply in zip(fitting, replies, strict=True) if matches(reply, fact.span)]
    dropped["not_grounded"] += len(worded) - len(grounded)
    dropped["other_question_word"] += len(grounded) - len(fitting)
    dropped["not_answered_back"] += len(fitting) - len(right)
    return right[:PARAPHRASES]


def _spread(found: dict[Fact, list[str]]) -> list[Example]:
    """Return the first question of each fact, then the second, and so on; a question once."""
    taken: set[str] = set()
    spread: list[Example] = []
    for turn in range(PARAPHRASES):
        for fact, asked in found.items():
            question = asked[turn] if turn < len(asked) else ""
            if question and normalise(question) not in taken:
                taken.add(normalise(question))
                place = (fact.passage.document, fact.passage.index)
                spread.append(Example("chat", question, fact.span, "generated", *place, sentence=fact.told))
    return spread
