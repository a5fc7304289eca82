"""The candidate asked through an engine, under its final name, beside the base model."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import stamina

from app.core.engines import EngineRecord
from app.core.gate import Scores
from app.core.grounding import matches
from app.core.names import BASE
from app.engines.client import EngineClient
from app.errors import Busy, EngineFailed, NoEngine
from app.stores.engines import EngineStore
from workers.trainer.control import ControlExam

T = TypeVar("T")
CONCURRENCY = 16
MAX_QUESTIONS = 64
MAX_ANSWER_TOKENS = 64


@dataclass(frozen=True)
class Question:
    """One question and the answer that counts as right; `sentence` is the one it was taken from, if any."""

    question: str
    answer: str
    sentence: str = ""


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

    async def ask_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask the base model on a live engine; waits and raises as `load` does."""

        async def ask_it() -> dict[str, Any]:
            engine = await self._least_loaded()
            return await self._client.chat(engine.url, {**body, "model": BASE})

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

    async def examine(self, engine: EngineRecord, adapter: str, questions: Sequence[Question], kind: str) -> Scores:
        """Ask the candidate and the base model the same questions, greedily, and the candidate the control set.

        Args:
            kind: as in `Scores`.
        """
        asked = list(questions)[:MAX_QUESTIONS]
        limit = asyncio.Semaphore(CONCURRENCY)
        shares = [await self._share(engine, model, asked, limit) for model in (adapter, BASE)]
        own = [one.answer for one in asked]
        control = await self._control.compare(engine.url, adapter, engine.base_digest, own)
        return Scores(kind, len(asked), base=shares[1], adapter=shares[0], control=control)

    async def _share(
        self, engine: EngineRecord, model: str, asked: Sequence[Question], limit: asyncio.Semaphore
    ) -> float:
        async def is_right(one: Question) -> bool:
            async with limit:
                reply = await self._client.chat(
                    engine.url,
                    {
                        "model": model,
                        "messages": [{"role": "user", "content": one.question}],
                        "temperature": 0,
                        "max_tokens": MAX_ANSWER_TOKENS,
                    },
                )
            return matches(reply["choices"][0]["message"]["content"] or "", one.answer, one.sentence)

        right = await asyncio.gather(*map(is_right, asked))
        return sum(right) / len(right) if right else 0.0
