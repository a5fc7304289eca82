"""The candidate asked through an engine, under its final name, beside the base model."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import stamina

from app.core.context import Shown, with_passages
from app.core.engines import EngineRecord
from app.core.gate import Control, Scores, worst
from app.core.grounding import matches
from app.core.names import BASE
from app.engines.client import EngineClient
from app.errors import Busy, EngineFailed, InvalidRequest, NoEngine, TooLarge, TooMuch
from app.retrieve import PASSAGES, PassageIndex, best_sentences
from app.stores.engines import EngineStore
from workers.trainer.control import ControlExam
from workers.trainer.exam import MAX_QUESTIONS, Exam, Posed, pose, spread

T = TypeVar("T")
CONCURRENCY = 16
MAX_WITH_PASSAGES = 32  # questions: these prompts are long
ANSWER_TOKENS = 64  # or as many as what was learned has


class Examiner:
    """Loads a candidate on the least loaded live engine and asks it there."""

    def __init__(self, engines: EngineStore, client: EngineClient, control: ControlExam, *, wait_s: float) -> None:
        """Build an examiner.

        Args:
            wait_s: how long a restarting engine is waited for.
        """
        self._engines, self._client, self._wait_s = engines, client, wait_s
        self._control = control

    @property
    def answered(self) -> int:
        """How many completions engines have given to whom this trainer asks by the same client."""
        return self._client.answered

    async def load(self, *adapters: str, rank: int = 0) -> EngineRecord:
        """Have one engine hold the adapters, their canaries passed; an engine that restarts or is full is waited for.

        Args:
            rank: theirs; engines that take less are passed over, unless all do and the one asked will say so.

        Raises:
            TooMuch: no engine can hold so many.
            NoEngine: none is alive.
            Busy, EngineFailed: none could take it.
            AdapterRejected: the engine refused the files, or the canary failed.
        """

        async def load_it() -> EngineRecord:
            engine = await self._least_loaded(len(adapters), rank)
            for adapter in adapters:
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

    async def _least_loaded(self, adapters: int = 0, rank: int = 0) -> EngineRecord:
        live = await self._engines.live()
        if not live:
            raise NoEngine("No engine is running: start one with `lorekeep engine`.")
        fit = [engine for engine in live if engine.capacity >= adapters]
        if not fit:
            raise TooMuch(
                f"The memory has {adapters} parts and no engine holds so many adapters: raise LOREKEEP_MAX_CPU_LORAS."
            )
        fit = [engine for engine in fit if engine.max_lora_rank >= rank] or fit
        return min(fit, key=lambda engine: (len(engine.resident), engine.id))

    async def _patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        passing = (NoEngine, Busy, EngineFailed)
        async for attempt in stamina.retry_context(
            on=passing, attempts=None, timeout=self._wait_s, wait_initial=0.5, wait_max=5
        ):
            with attempt:
                return await act()
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def examine(self, engine: EngineRecord, exams: Mapping[str, Exam]) -> Scores:
        """Ask the base model and a candidate the same questions, greedily, and the candidate the control set.

        What was trained on, beside held-out questions, is asked of the candidate alone.

        Args:
            exams: adapter -> what is asked about its documents; of several parts each question goes to the one that
                selection picks for it, as when the memory serves.
        """
        posed = await asyncio.to_thread(pose, exams)
        ask = _Ask(self._client, engine)
        held = [one for one in posed if one.question.kind == "held_out"]
        trained = [one for one in posed if one.question.kind == "recall"]
        asked = held or trained
        based = [replace(one, picked=BASE) for one in asked]
        said, by_base = await ask.all(asked), await ask.all(based)
        control = worst([await self._leave_alone(engine, adapter, exam) for adapter, exam in exams.items()])
        scores = Scores("held_out" if held else "recall", len(asked), _share(by_base), _share(said), control)
        scores = replace(scores, parts=len(exams), routed=_share([one.picked == one.own for one in posed]))
        if not held:
            return scores
        scores = replace(scores, recall=_share(await ask.all(trained)), recall_questions=len(trained))
        passages = [passage for exam in exams.values() for passage in exam.passages]
        context, both = [await ask.with_passages(some, passages) for some in (based, held)]
        return replace(scores, context=_share(context), both=_share(both), context_questions=len(context))

    async def _leave_alone(self, engine: EngineRecord, adapter: str, exam: Exam) -> Control:
        own = [one.answer for one in exam.questions[:MAX_QUESTIONS]]
        return await self._control.compare(engine.url, adapter, engine.base_digest, own)


class _Ask:
    """Asks models of one engine."""

    def __init__(self, client: EngineClient, engine: EngineRecord) -> None:
        self._client, self._engine = client, engine
        self._limit = asyncio.Semaphore(CONCURRENCY)
        self._lengths: dict[str, int] = {}

    async def all(self, posed: Sequence[Posed]) -> list[bool]:
        """Say of each question whether who is picked answers it right; one longer than the engine takes is not."""
        return list(await asyncio.gather(*[self._is_right(one) for one in posed]))

    async def with_passages(self, posed: Sequence[Posed], passages: Sequence[Shown]) -> list[bool]:
        """Say so of some, asked with the passages that serving would give; where none is found, none is answered.

        Not of pairs as uploaded: their passages are the questions with their answers, and say nothing of reading.
        """
        some = spread(posed, MAX_WITH_PASSAGES)
        found = await asyncio.to_thread(_found, [one.question.question for one in some], passages)
        asked = [self._is_right(one, shown) for one, shown in zip(some, found, strict=True) if shown]
        return [*await asyncio.gather(*asked), *[False] * (len(some) - len(asked))]

    async def _is_right(self, posed: Posed, passages: Sequence[Shown] = ()) -> bool:
        one, messages = posed.question, [{"role": "user", "content": posed.question.question}]
        if passages:
            messages = with_passages(messages, passages, takes_system=self._engine.takes_system)
        body = {"model": posed.picked, "messages": messages, "temperature": 0}
        async with self._limit:
            try:
                length = await self._length(one.sentence or one.answer)
                reply = await self._client.chat(self._engine.url, {**body, "max_tokens": length})
            except (InvalidRequest, TooLarge):
                return False
        return matches(reply["choices"][0]["message"]["content"] or "", one.answer, one.sentence)

    async def _length(self, learned: str) -> int:
        """Return how many tokens an answer may have; only of a long one they are counted."""
        if len(learned.encode()) <= ANSWER_TOKENS:
            return ANSWER_TOKENS
        if learned not in self._lengths:  # it is asked of several models, with and without passages
            counted = len(await self._client.tokenize(self._engine.url, learned)) + 1
            self._lengths[learned] = max(ANSWER_TOKENS, counted)
        return self._lengths[learned]


def _found(questions: Sequence[str], passages: Sequence[Shown]) -> list[list[Shown]]:
    """Return what serving would show for each question."""
    index = PassageIndex([one.text for one in passages])
    found = [[passages[hit.index] for hit in index.search(question, PASSAGES)] for question in questions]
    return [[*some, *best_sentences(question, some)] for question, some in zip(questions, found, strict=True)]


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right) if right else 0.0
