"""The candidate asked through an engine, under its final name, beside the base model."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import stamina

from app.core.context import question_with_passages
from app.core.engines import EngineRecord
from app.core.gate import Scores
from app.core.grounding import matches
from app.core.names import BASE
from app.engines.client import EngineClient
from app.errors import Busy, EngineFailed, InvalidRequest, NoEngine, TooLarge
from app.retrieve import PASSAGES, PassageIndex
from app.stores.engines import EngineStore
from workers.trainer.control import ControlExam

T = TypeVar("T")
CONCURRENCY = 16
MAX_QUESTIONS = 64
MAX_WITH_PASSAGES = 32  # questions: these prompts are long
MAX_ANSWER_TOKENS = 64


@dataclass(frozen=True)
class Question:
    """One question and the answer that counts as right; `sentence` is the one it was taken from, if any."""

    question: str
    answer: str
    sentence: str = ""


@dataclass(frozen=True)
class Exam:
    """What a candidate is asked about its documents.

    Attributes:
        kind: as in `Scores`.
        passages: where retrieval looks for answers.
    """

    questions: Sequence[Question]
    kind: str
    passages: Sequence[str] = ()


class Examiner:
    """Loads a candidate on the least loaded live engine and asks it there."""

    def __init__(self, engines: EngineStore, client: EngineClient, folder: Path, *, wait_s: float) -> None:
        """Build an examiner.

        Args:
            folder: where the base model's answers to the control set are kept.
            wait_s: how long a restarting engine is waited for.
        """
        self._engines, self._client, self._wait_s = engines, client, wait_s
        self._control = ControlExam(client, folder)

    async def load(self, adapter: str) -> EngineRecord:
        """Have one engine hold the adapter, its canary passed; an engine that restarts or is full is waited for.

        Raises:
            NoEngine: none is alive.
            Busy, EngineFailed: none could take it.
            AdapterRejected: the engine refused the files, or the canary failed.
        """

        async def load_it() -> EngineRecord:
            engine = await self._least_loaded()
            await self._engines.desire(engine.id, adapter, time.time())
            await self._client.load(engine.url, adapter)
            return engine

        return await self._patiently(load_it)

    async def any_engine(self) -> EngineRecord:
        """Return the least loaded live engine; waits and raises as `load` does."""
        return await self._patiently(self._least_loaded)

    async def ask_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask the base model on a live engine for a chat completion; waits and raises as `load` does."""
        return await self._of_base(self._client.chat, body)

    async def complete_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask it for a text completion."""
        return await self._of_base(self._client.complete, body)

    async def _of_base(
        self, ask: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]], body: dict[str, Any]
    ) -> dict[str, Any]:
        async def ask_it() -> dict[str, Any]:
            engine = await self._least_loaded()
            return await ask(engine.url, {**body, "model": BASE})

        return await self._patiently(ask_it)

    async def _least_loaded(self) -> EngineRecord:
        live = await self._engines.live()
        if not live:
            raise NoEngine("No engine is running: start one with `lorekeep engine`.")
        return min(live, key=lambda engine: (len(engine.resident), engine.id))

    async def _patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        passing = (NoEngine, Busy, EngineFailed)
        async for attempt in stamina.retry_context(
            on=passing, attempts=None, timeout=self._wait_s, wait_initial=0.5, wait_max=5
        ):
            with attempt:
                return await act()
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def examine(self, engine: EngineRecord, adapter: str, exam: Exam) -> Scores:
        """Ask the candidate and the base model the same questions, greedily, and the candidate the control set."""
        asked = list(exam.questions)[:MAX_QUESTIONS]
        ask = _Ask(self._client, engine.url)
        said, by_base = await ask.all(adapter, asked), await ask.all(BASE, asked)
        own = [one.answer for one in asked]
        control = await self._control.compare(engine.url, adapter, engine.base_digest, own)
        scores = Scores(exam.kind, len(asked), base=_share(by_base), adapter=_share(said), control=control)
        if exam.kind == "recall":
            return scores
        context, both = [await _with_passages(ask, model, asked, exam.passages) for model in (BASE, adapter)]
        return replace(scores, context=_share(context), both=_share(both), context_questions=len(context))


class _Ask:
    """Asks models of one engine."""

    def __init__(self, client: EngineClient, url: str) -> None:
        self._client, self._url = client, url
        self._limit = asyncio.Semaphore(CONCURRENCY)

    async def all(self, model: str, asked: Sequence[Question]) -> list[bool]:
        """Say of each question whether it is answered right; one longer than the engine takes is not."""
        return list(await asyncio.gather(*[self._is_right(model, one) for one in asked]))

    async def _is_right(self, model: str, one: Question) -> bool:
        body = {"model": model, "messages": [{"role": "user", "content": one.question}], "temperature": 0}
        async with self._limit:
            try:
                reply = await self._client.chat(self._url, {**body, "max_tokens": MAX_ANSWER_TOKENS})
            except (InvalidRequest, TooLarge):
                return False
        return matches(reply["choices"][0]["message"]["content"] or "", one.answer, one.sentence)


async def _with_passages(ask: _Ask, model: str, asked: Sequence[Question], passages: Sequence[str]) -> list[bool]:
    """Ask a model with the passages that serving would give it; where it finds none, it answers none.

    Not of pairs: their passages are the questions with their answers, and say nothing of reading.
    """
    index = await asyncio.to_thread(PassageIndex, passages)
    some = asked[:: max(1, -(-len(asked) // MAX_WITH_PASSAGES))]
    found = [(one, index.search(one.question, PASSAGES)) for one in some]
    prompted = [
        replace(one, question=question_with_passages([hit.text for hit in hits], one.question))
        for one, hits in found
        if hits
    ]
    return [*await ask.all(model, prompted), *[False] * (len(some) - len(prompted))]


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right) if right else 0.0
