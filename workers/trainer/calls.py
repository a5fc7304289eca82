"""Calls to a generator: many at once but never too many, what passes tried again, failures counted while few."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

import stamina
import structlog

from app.errors import Busy, EngineFailed, GeneratorFailed, NoEngine, ServiceError, Unavailable
from workers.trainer.prompts import Message

log = structlog.get_logger()

T = TypeVar("T")
Ask = Callable[[list[Message], float, int], Awaitable[str]]  # messages, temperature, most tokens -> text

CONCURRENCY = 32
MIN_CALLS = 24  # before so many, failures decide nothing
MIN_FAILED = 4  # so many decide, in the end, where all failed; until then they may be of one prompt


class Calls:
    """A generator that says nothing where it fails, until it fails too often."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._limit = asyncio.Semaphore(CONCURRENCY)
        self.made = self.failed = 0  # calls that have ended, and those of them that failed
        self._fault = ""

    async def __call__(self, messages: list[Message], temperature: float, most_tokens: int) -> str:
        """Ask for one chat completion.

        Raises:
            GeneratorFailed: more than half of the calls failed.
            NoEngine: there is none to ask.
        """
        async with self._limit:
            self._check()  # calls that waited for their turn do not ask a generator that is given up
            try:
                said = await self._patiently(messages, temperature, most_tokens)
            except NoEngine:
                raise  # waited for already, and no fault of the generator's
            except ServiceError as error:
                log.warning("generator.failed", code=error.code)
                said, self._fault = "", error.detail
                self.failed += 1
            self.made += 1
            self._check()
            return said

    def end(self) -> None:
        """Say that there are no more calls.

        Raises:
            GeneratorFailed: all of them failed, few as they were.
        """
        self._give_up(self.made == self.failed >= MIN_FAILED)

    def _check(self) -> None:
        self._give_up(self.made >= MIN_CALLS and self.failed > self.made / 2)

    def _give_up(self, is_broken: bool) -> None:
        if is_broken:
            raise GeneratorFailed(
                f"The generator does not answer ({self._fault}): check LOREKEEP_GENERATOR_URL, or the engine."
            )

    async def _patiently(self, messages: list[Message], temperature: float, most_tokens: int) -> str:
        async for attempt in stamina.retry_context(on=_passes, attempts=3, wait_initial=0.2, wait_max=5):
            with attempt:
                return await self._ask(messages, temperature, most_tokens)
        raise AssertionError("unreachable: the last attempt returns or raises")


def _passes(error: Exception) -> bool:
    return isinstance(error, (Busy, EngineFailed, Unavailable)) and not isinstance(error, NoEngine)


async def all_of(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it at once and return what came of each; the first error ends the rest."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
