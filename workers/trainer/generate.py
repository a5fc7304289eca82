"""Questions about passages from any chat model, kept only if they rest on the text and survive a round trip.

Answer-aware: a span of a sentence is the answer, the generator words the question, and, shown the sentence alone,
must answer it back right. Weak generators write many bad questions; what survives is few and mostly true, so facts
have keyword questions too, and some of what survives here is kept for the gate.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import stamina
import structlog

from app.core.grounding import PRONOUNS, fits, is_grounded, matches, normalise
from app.core.spans import spans
from app.errors import Busy, EngineFailed, GeneratorFailed, NoEngine, ServiceError, Unavailable
from workers.trainer import prompts
from workers.trainer.examples import Example, name_documents
from workers.trainer.passages import Passage, each_sentence

log = structlog.get_logger()

Message = prompts.Message
Ask = Callable[[list[Message], float, int], Awaitable[str]]  # messages, temperature, most tokens -> text
OnProgress = Callable[[int, int], Awaitable[None]]

CONCURRENCY = 32
SAMPLES = 4
RETRIES = 1  # more rounds of samples, hotter, for facts that no question was kept for
PARAPHRASES = 3
QUESTION_TOKENS, ANSWER_TOKENS = 40, 24
TEMPERATURE, HOTTER = 0.7, 0.2
MIN_CALLS = 24  # before so many, failures decide nothing


@dataclass
class _Fact:
    """A span of a sentence that questions are sought for; `told` is the sentence with what it refers back to."""

    passage: Passage
    told: str
    span: str
    questions: list[str] = field(default_factory=list)


async def generate(
    passages: Sequence[Passage], ask: Ask, *, per_passage: int, on_progress: OnProgress
) -> list[Example]:
    """Word questions about passages.

    Args:
        ask: one chat completion; what passes is tried again, and many failures end the work.
        per_passage: at most so many kept questions a passage, spread over its facts.
        on_progress: told after each fact how many are done, of how many.

    Raises:
        GeneratorFailed: more than half of the calls failed.
        NoEngine: `ask` found none.
    """
    facts = _facts(passages)
    calls = _Calls(ask)
    done = 0

    async def seek(fact: _Fact) -> None:
        nonlocal done
        await _word(fact, calls)
        done += 1
        await on_progress(done, len(facts))

    await _each(seek, facts)
    questions = _spread(facts, per_passage)
    log.info("questions.generated", facts=len(facts), kept=len(questions), calls=calls.made)
    return name_documents(questions, passages)


class _Calls:
    """The generator, with its failures counted instead of raised while they are few."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.made = self.failed = 0

    async def __call__(self, messages: list[Message], temperature: float, most_tokens: int) -> str:
        self.made += 1
        try:
            async for attempt in stamina.retry_context(on=_passes, attempts=3, wait_initial=0.2, wait_max=5):
                with attempt:
                    return await self._ask(messages, temperature, most_tokens)
        except NoEngine:
            raise  # waited for already, and no fault of the generator's
        except ServiceError as error:
            self.failed += 1
            log.warning("generator.failed", code=error.code)
            if self.made >= MIN_CALLS and self.failed > self.made / 2:
                raise GeneratorFailed(
                    f"The generator does not answer ({error.detail}): check LOREKEEP_GENERATOR_URL, or the engine."
                ) from error
        return ""


def _passes(error: Exception) -> bool:
    return isinstance(error, (Busy, EngineFailed, Unavailable)) and not isinstance(error, NoEngine)


async def _each(act: Callable[[_Fact], Awaitable[None]], facts: Sequence[_Fact]) -> None:
    """Act on every fact, as many at once as keep the generator busy; the first error ends them all."""
    waiting = iter(facts)

    async def carry_on() -> None:
        for fact in waiting:
            await act(fact)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(facts), max(1, CONCURRENCY // SAMPLES))):
                group.create_task(carry_on())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _facts(passages: Sequence[Passage]) -> list[_Fact]:
    found = []
    for passage, sentence, before in each_sentence(passages):
        told = f"{before} {sentence}".strip() if _refers_back(sentence) else sentence
        found += [_Fact(passage, told, span) for span in spans(sentence)]
    return found


def _refers_back(sentence: str) -> bool:
    return not PRONOUNS.isdisjoint(normalise(sentence).split()[:3])


async def _word(fact: _Fact, calls: _Calls) -> None:
    """Seek questions for a fact, hotter every round, until one is kept."""
    for turn in range(1 + RETRIES):
        temperature = TEMPERATURE + turn * HOTTER
        texts = await asyncio.gather(
            *[calls(prompts.asking(fact.told, fact.span), temperature, QUESTION_TOKENS) for _ in range(SAMPLES)]
        )
        worded = {normalise(question): question for question in map(prompts.first_question, texts)}
        candidates = [one for one in worded.values() if is_grounded(one, fact.span, fact.told) and fits(one, fact.span)]
        replies = await asyncio.gather(
            *[calls(prompts.answering(fact.told, question), 0.0, ANSWER_TOKENS) for question in candidates]
        )
        pairs = zip(candidates, replies, strict=True)
        fact.questions = [question for question, reply in pairs if matches(reply, fact.span)][:PARAPHRASES]
        if fact.questions:
            return


def _spread(facts: Sequence[_Fact], per_passage: int) -> list[Example]:
    """Take the first question of each fact, then the second, until a passage has enough; a question once."""
    counts: dict[tuple[str, int], int] = {}
    taken: set[tuple[str, str]] = set()
    kept: list[Example] = []
    for turn in range(PARAPHRASES):
        for fact in facts:
            document, index = fact.passage.document, fact.passage.index
            question = fact.questions[turn] if turn < len(fact.questions) else ""
            key = (document, normalise(question))
            if question and key not in taken and counts.get((document, index), 0) < per_passage:
                taken.add(key)
                counts[document, index] = counts.get((document, index), 0) + 1
                example = Example("chat", question, fact.span, "generated", document, index, sentence=fact.told)
                kept.append(example)
    return kept
