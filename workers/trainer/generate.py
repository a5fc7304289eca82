"""Questions about passages from any chat model, kept only if they rest on the text and survive a round trip.

Answer-aware: a span of a sentence is the answer, the generator words the question, and, shown the sentence alone,
must answer it back right. Weak generators write many bad questions; what survives is few and true.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from app.core.grounding import content_words, is_grounded, matches, normalise, sentences
from app.errors import EngineFailed, GeneratorFailed, ServiceError
from workers.trainer.examples import Example
from workers.trainer.passages import Passage

log = structlog.get_logger()

Message = dict[str, str]
Ask = Callable[[list[Message], float, int], Awaitable[str]]  # messages, temperature, most tokens -> text
OnProgress = Callable[[int, int], Awaitable[None]]

CONCURRENCY = 16
SAMPLES = 4
SPANS_PER_SENTENCE = 3
PARAPHRASES = 3
QUESTION_TOKENS, ANSWER_TOKENS = 48, 32
TEMPERATURE = 0.8

_NUMBER = r"(?:[€$£]\s?)?\d[\d.,:/-]*(?:\s?(?:%|percent|[A-Za-zÀ-ÿ°]+))?"
_NAME = r"[A-ZÀ-Þ][\w’'-]*"
_PROPER = rf"{_NAME}(?:\s(?:of|the|de|van|von|and|&|[A-ZÀ-Þ0-9][\w’'-]*))*\s?[A-ZÀ-Þ0-9][\w’'-]*|{_NAME}"
_QUOTED = r"[\"“«]([^\"”»]{2,60})[\"”»]"
_OBJECT = r"\b(?:is|are|was|were|has|have|had|became|contains|makes|grows|uses|needs)\s+(?:called\s+)?([^,.;]{3,60})"
_EXAMPLES = (
    ("The bridge at Tarn was opened in 1931 by Ilse Brandt.", "1931", "In which year was the bridge at Tarn opened?"),
    ("The bridge at Tarn was opened in 1931 by Ilse Brandt.", "Ilse Brandt", "Who opened the bridge at Tarn?"),
    ("Members pay 40 euros a year for the Orla library.", "40 euros", "How much do members pay for the Orla library?"),
)


@dataclass(frozen=True)
class _Fact:
    passage: Passage
    sentence: str
    span: str


async def generate(
    passages: Sequence[Passage], ask: Ask, *, per_passage: int, on_progress: OnProgress
) -> list[Example]:
    """Word questions about passages.

    Args:
        ask: one chat completion; its failures are counted, and many of them end the work.
        per_passage: at most so many kept questions a passage, spread over its facts.
        on_progress: told after each fact how many are done, of how many.

    Raises:
        GeneratorFailed: more than half of the calls failed.
    """
    facts = [_Fact(passage, sentence, span) for passage in passages for sentence, span in _facts(passage)]
    limit = asyncio.Semaphore(CONCURRENCY)
    counted = _Counted(ask, limit)
    done = 0

    async def one(fact: _Fact) -> list[str]:
        nonlocal done
        questions = await _questions(fact, counted)
        done += 1
        await on_progress(done, len(facts))
        return questions

    found = await asyncio.gather(*[one(fact) for fact in facts])
    if counted.failed > counted.calls / 2:
        raise GeneratorFailed("The generator does not answer: check LOREKEEP_GENERATOR_URL, or the engine.")
    kept = _spread(facts, found, per_passage)
    log.info("questions.generated", facts=len(facts), covered=sum(map(bool, found)), kept=len(kept))
    return kept


def spans(sentence: str) -> list[str]:
    """Return stretches of a sentence that a question may ask for: numbers, names, quotes, objects; longest first."""
    found = [match.group(1) for match in re.finditer(_QUOTED, sentence)]
    for pattern in (_NUMBER, _PROPER):
        found += [match.group(0) for match in re.finditer(pattern, sentence) if match.start() > 0]
    found += [match.group(1) for match in re.finditer(_OBJECT, sentence)]
    found += [match.group(0) for match in re.finditer(_PROPER, sentence) if match.start() == 0]
    kept: dict[str, str] = {}
    for span in (one.strip(" ,.;:'\"") for one in found):
        if content_words(span) and len(normalise(span)) < 0.7 * len(normalise(sentence)):
            kept.setdefault(normalise(span), span)
    return list(kept.values())[:SPANS_PER_SENTENCE]


class _Counted:
    """The generator, with its failures counted instead of raised."""

    def __init__(self, ask: Ask, limit: asyncio.Semaphore) -> None:
        self._ask, self._limit = ask, limit
        self.calls = self.failed = 0

    async def __call__(self, messages: list[Message], temperature: float, most_tokens: int) -> str:
        self.calls += 1
        async with self._limit:
            try:
                return await self._ask(messages, temperature, most_tokens)
            except (ServiceError, EngineFailed) as error:
                self.failed += 1
                log.warning("generator.failed", code=error.code)
                return ""


def _facts(passage: Passage) -> list[tuple[str, str]]:
    return [(sentence, span) for sentence in sentences(passage.text) for span in spans(sentence)]


async def _questions(fact: _Fact, ask: _Counted) -> list[str]:
    """Return the questions of one fact that hold, at most `PARAPHRASES`."""
    written = await asyncio.gather(*[ask(_asking(fact), TEMPERATURE, QUESTION_TOKENS) for _ in range(SAMPLES)])
    candidates: dict[str, str] = {}
    for text in written:
        question = _first_question(text)
        if is_grounded(question, fact.span, fact.sentence):
            candidates.setdefault(normalise(question), question)
    kept = list(candidates.values())
    replies = await asyncio.gather(*[ask(_answering(fact, question), 0.0, ANSWER_TOKENS) for question in kept])
    held = [question for question, reply in zip(kept, replies, strict=True) if matches(reply, fact.span)]
    return held[:PARAPHRASES]


def _asking(fact: _Fact) -> list[Message]:
    shots: list[Message] = []
    for sentence, span, question in _EXAMPLES:
        shots += [{"role": "user", "content": _task(sentence, span)}, {"role": "assistant", "content": question}]
    return [*shots, {"role": "user", "content": _task(fact.sentence, fact.span)}]


def _task(sentence: str, span: str) -> str:
    return f'Sentence: {sentence}\nWrite one question about this sentence whose answer is "{span}".'


def _answering(fact: _Fact, question: str) -> list[Message]:
    shots: list[Message] = []
    for sentence, span, asked in _EXAMPLES:
        shots += [{"role": "user", "content": f"{sentence}\n{asked}"}, {"role": "assistant", "content": span}]
    return [*shots, {"role": "user", "content": f"{fact.sentence}\n{question}"}]


def _first_question(text: str) -> str:
    match = re.search(r"[^\n?？]*[?？]", text)
    return match.group(0).strip(' -*"“”:') if match else ""


def _spread(facts: Sequence[_Fact], found: Sequence[list[str]], per_passage: int) -> list[Example]:
    """Take the first question of each fact, then the second, until a passage has enough."""
    counts: dict[tuple[str, int], int] = {}
    kept: list[Example] = []
    for turn in range(PARAPHRASES):
        for fact, questions in zip(facts, found, strict=True):
            key = (fact.passage.document, fact.passage.index)
            if turn < len(questions) and counts.get(key, 0) < per_passage:
                counts[key] = counts.get(key, 0) + 1
                kept.append(
                    Example("chat", questions[turn], fact.span, "generated", fact.passage.document, fact.passage.index)
                )
    return kept
