"""Sending a request to an engine that has room for it, and once more where that engine failed."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from app.core.composition import Composition
from app.engines.client import EngineClient
from app.engines.fleet import Fleet, Seat
from app.errors import EngineFailed, EngineTimeout, ModelNotFound

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
Reply = TypeVar("Reply")


class _Lost(Exception):
    """The engine does not hold an adapter it was thought to hold."""


class Sender:
    """Seats requests on engines."""

    def __init__(self, fleet: Fleet, client: EngineClient) -> None:
        self._fleet, self.client = fleet, client

    async def send(
        self, adapter: str | None, call: Callable[[Seat], Awaitable[Reply]], composition: Composition | None = None
    ) -> tuple[Seat, Reply, AsyncExitStack]:
        """Seat a request and send it; once more where the engine failed, or had lost the adapter.

        Args:
            adapter: what the engine must hold; None where the base model answers.
            composition: how the engine makes it, where it is a composite.

        Returns:
            The seat, the reply, and the stack that frees the seat.
        """
        failure = EngineFailed()
        for _ in range(2):
            try:
                async with AsyncExitStack() as stack:
                    seat = await stack.enter_async_context(self._fleet.seat(adapter, composition))
                    return seat, await self._call(seat, adapter, call), stack.pop_all()
            except EngineTimeout:
                raise
            except _Lost:
                failure = EngineFailed("The engine lost this memory while it was asked: ask again.")
            except EngineFailed as error:
                failure = error
        raise failure

    async def ask(
        self, adapter: str | None, call: Callable[[Seat], Awaitable[Reply]], composition: Composition | None = None
    ) -> tuple[Seat, Reply]:
        """Send a request whose reply comes in one piece, and free the seat."""
        seat, reply, stack = await self.send(adapter, call, composition)
        await stack.aclose()
        return seat, reply

    async def complete(
        self, adapter: str | None, path: str, body: dict[str, Any], composition: Composition | None = None
    ) -> tuple[Seat, dict[str, Any]]:
        """Ask for one completion, of a chat or of a text."""
        send = self.client.chat if path == CHAT else self.client.complete
        return await self.ask(adapter, lambda seat: send(seat.engine.url, body), composition)

    async def _call(self, seat: Seat, adapter: str | None, call: Callable[[Seat], Awaitable[Reply]]) -> Reply:
        try:
            return await call(seat)
        except ModelNotFound as error:
            if adapter:
                self._fleet.forget(seat.engine.id, adapter)
            raise _Lost from error
