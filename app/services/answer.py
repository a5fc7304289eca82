"""Answers: a client's OpenAI request, sent to an engine that serves what it names, and the reply that says who did.

The body passes unchanged but for `model`, our `memory` extension and `cache_salt`.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from app.engines.client import EngineClient
from app.engines.fleet import Fleet, Seat
from app.errors import EngineFailed, EngineTimeout, ModelNotFound
from app.retrieve import Hit
from app.services.context import Library, question_of, with_passages
from app.services.relay import relay
from app.services.target import Extension, Resolver, Target

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
Reply = TypeVar("Reply")


@dataclass(frozen=True)
class Provenance:
    """Which memory answered, from what and where: the `memory` object of a reply."""

    target: Target
    seat: Seat
    passages: list[Hit]

    def to_dict(self) -> dict[str, Any]:
        """Return the object that replies carry."""
        part = {"part": self.target.part} if self.target.part else {}
        used = [{"id": self.target.memory_id, "version": self.target.version, "score": None, **part}]
        return {
            "mode": self.target.mode if self.target.adapter else "base",
            "used": used if self.target.adapter else [],
            "passages": [{"index": hit.index, "text": hit.text, "score": hit.score} for hit in self.passages],
            "engine": self.seat.engine.id,
            "cold": self.seat.cold,
            "load_ms": round(self.seat.load_ms, 1),
            "abstained": False,
        }

    def headers(self) -> dict[str, str]:
        """Return the headers that every reply carries."""
        return {
            "X-Lorekeep-Memory": self.target.memory_id or "base",
            "X-Lorekeep-Version": str(self.target.version),
            "X-Lorekeep-Mode": self.target.mode if self.target.adapter else "base",
            "X-Lorekeep-Engine": self.seat.engine.id,
            "X-Lorekeep-Cold": str(self.seat.cold).lower(),
            "X-Lorekeep-Load-Ms": f"{self.seat.load_ms:.1f}",
        }


@dataclass(frozen=True)
class Stream:
    """An answer in pieces. Whoever takes it calls `close` once, however it ends."""

    events: AsyncIterator[bytes]
    provenance: Provenance
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class _Asked:
    """A request as an engine gets it."""

    target: Target
    body: dict[str, Any]
    passages: list[Hit]


class _Lost(Exception):
    """The engine does not hold an adapter it was thought to hold."""


class Answerer:
    """Answers requests from engines."""

    def __init__(self, resolver: Resolver, fleet: Fleet, client: EngineClient, library: Library) -> None:
        self._resolver, self._fleet, self._client, self._library = resolver, fleet, client, library

    async def answer(self, tenant: str, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], Provenance]:
        """Answer in one piece.

        Raises:
            ServiceError: as the parts say; a 4xx of the engine keeps its message.
        """
        asked = await self._prepare(tenant, body)
        send = self._client.chat if path == CHAT else self._client.complete
        seat, reply, stack = await self._send(asked.target, lambda seat: send(seat.engine.url, asked.body))
        await stack.aclose()
        provenance = Provenance(asked.target, seat, asked.passages)
        return {**reply, "model": asked.target.asked, "memory": provenance.to_dict()}, provenance

    async def stream(self, tenant: str, path: str, body: dict[str, Any]) -> Stream:
        """Answer in pieces; returns once the engine has accepted the request.

        Raises:
            ServiceError: as in `answer`, before the first piece.
        """
        asked = await self._prepare(tenant, body)
        target = asked.target

        def begin(seat: Seat) -> Awaitable[httpx.Response]:
            return self._client.open_stream(seat.engine.url, path, asked.body)

        seat, reply, stack = await self._send(target, begin)
        stack.push_async_callback(reply.aclose)
        provenance = Provenance(target, seat, asked.passages)
        events = relay(reply, served=target.served, asked=target.asked, memory=provenance.to_dict())
        return Stream(events, provenance, stack.aclose)

    async def _send(
        self, target: Target, call: Callable[[Seat], Awaitable[Reply]]
    ) -> tuple[Seat, Reply, AsyncExitStack]:
        """Seat a request and send it; once more where the engine failed, or had lost the adapter.

        Returns:
            The seat, the reply, and the stack that frees the seat.
        """
        failure = EngineFailed()
        for _ in range(2):
            try:
                async with AsyncExitStack() as stack:
                    seat = await stack.enter_async_context(self._fleet.seat(target.adapter_asked))
                    return seat, await self._call(seat, target, call), stack.pop_all()
            except EngineTimeout:
                raise
            except _Lost:
                failure = EngineFailed("The engine lost this memory while it was asked: ask again.")
            except EngineFailed as error:
                failure = error
        raise failure

    async def _call(self, seat: Seat, target: Target, call: Callable[[Seat], Awaitable[Reply]]) -> Reply:
        try:
            return await call(seat)
        except ModelNotFound as error:
            self._fleet.forget(seat.engine.id, target.served)
            raise _Lost from error

    async def _prepare(self, tenant: str, body: dict[str, Any]) -> _Asked:
        target = await self._resolver.resolve(tenant, body.get("model"), Extension.parse(body.get("memory")))
        target = target.picking(await self._library.pick(target.adapters, body)) if target.adapters else target
        sent = {name: value for name, value in body.items() if name != "memory"}
        sent["model"] = target.served
        sent["cache_salt"] = _salt(tenant, target, body.get("cache_salt"))
        if target.mode == "adapter":
            return _Asked(target, sent, [])
        passages = await self._library.find(target.adapters, question_of(sent))
        return _Asked(target, with_passages(sent, passages), passages)


def _salt(tenant: str, target: Target, own: object) -> str:
    """Return a salt that no other tenant, version or client salt shares, so neither does a cached prefix."""
    return hashlib.sha256(json.dumps([tenant, target.served, str(own or "")]).encode()).hexdigest()
