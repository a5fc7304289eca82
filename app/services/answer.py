"""Answers: a client's OpenAI request, sent to an engine that serves what it names, and the reply that says who did.

The body passes unchanged but for `model`, our `memory` extension and `cache_salt`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx

from app.engines.fleet import Seat
from app.services.choose import Choice, Chooser
from app.services.relay import relay
from app.services.send import CHAT, TEXT, Sender
from app.services.target import Extension, Target, cache_salt

__all__ = ["CHAT", "TEXT", "Answerer", "Provenance", "Stream"]


@dataclass(frozen=True)
class Provenance:
    """Which memory answered, from what and where: the `memory` object of a reply."""

    choice: Choice
    seat: Seat
    explain: bool = False

    @property
    def mode(self) -> str:
        """How the memory answered; `base` where none did."""
        return self.choice.target.mode if self.choice.target.adapter else "base"

    def to_dict(self) -> dict[str, Any]:
        """Return the object that replies carry."""
        target = self.choice.target
        source = {"memory": target.memory_id, "version": target.version}
        told = {
            "mode": self.mode,
            "used": [_used(one) for one in target.used],
            **self._composed(),
            "passages": [{**source, **passage.to_dict()} for passage in self.choice.reading.cited],
            "engine": self.seat.engine.id,
            "cold": self.seat.cold,
            "load_ms": round(self.seat.load_ms, 1),
            "abstained": self.choice.abstained,
        }
        if self.explain:
            told["candidates"] = [one.to_dict() for one in self.choice.considered]
        return told

    def _composed(self) -> dict[str, Any]:
        """Say how a composite was made; its weights and figures are in the order of `used`."""
        composition = self.choice.target.composition
        if composition is None:
            return {}
        recipe = {name: value for name, value in composition.to_dict().items() if name != "members"}
        return {"compose": {**recipe, **self.seat.composed}}

    def headers(self) -> dict[str, str]:
        """Return the headers that every reply carries."""
        target = self.choice.target
        return {
            "X-Lorekeep-Memory": ",".join(one.memory_id for one in target.used) or "base",
            "X-Lorekeep-Version": ",".join(str(one.version) for one in target.used) or "0",
            "X-Lorekeep-Mode": self.mode,
            "X-Lorekeep-Engine": self.seat.engine.id,
            "X-Lorekeep-Cold": str(self.seat.cold).lower(),
            "X-Lorekeep-Load-Ms": f"{self.seat.load_ms:.1f}",
            "X-Lorekeep-Abstained": str(self.choice.abstained).lower(),
            **({} if target.score is None else {"X-Lorekeep-Score": f"{target.score:.4f}"}),
        }


def _used(target: Target) -> dict[str, Any]:
    part = {"part": target.part} if target.part else {}
    return {"id": target.memory_id, "version": target.version, "score": target.score, **part}


@dataclass(frozen=True)
class Stream:
    """An answer in pieces. Whoever takes it calls `close` once, however it ends."""

    events: AsyncIterator[bytes]
    provenance: Provenance
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class _Prepared:
    """A request as an engine gets it."""

    choice: Choice
    body: dict[str, Any]
    explain: bool

    @property
    def target(self) -> Target:
        return self.choice.target

    def answered(self, seat: Seat) -> Provenance:
        """Say who answered; an adapter that was loaded to see whether it knows was loaded for this request."""
        loaded = self.choice.loaded
        if loaded and loaded.cold and not seat.cold and self.target.adapter_asked:
            seat = replace(seat, cold=True, load_ms=loaded.load_ms)
        return Provenance(self.choice, seat, self.explain)


class Answerer:
    """Answers requests from engines."""

    def __init__(self, chooser: Chooser, sender: Sender) -> None:
        self._chooser, self._sender = chooser, sender

    async def answer(self, tenant: str, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], Provenance]:
        """Answer in one piece.

        Raises:
            ServiceError: as the parts say; a 4xx of the engine keeps its message.
        """
        asked = await self._prepare(tenant, path, body)
        target = asked.target
        seat, reply = await self._sender.complete(target.adapter_asked, path, asked.body, target.composition)
        provenance = asked.answered(seat)
        return {**reply, "model": target.asked, "memory": provenance.to_dict()}, provenance

    async def stream(self, tenant: str, path: str, body: dict[str, Any]) -> Stream:
        """Answer in pieces; returns once the engine has accepted the request.

        Raises:
            ServiceError: as in `answer`, before the first piece.
        """
        asked = await self._prepare(tenant, path, body)
        target = asked.target

        def begin(seat: Seat) -> Awaitable[httpx.Response]:
            return self._sender.client.open_stream(seat.engine.url, path, asked.body)

        seat, reply, stack = await self._sender.send(target.adapter_asked, begin, target.composition)
        stack.push_async_callback(reply.aclose)
        provenance = asked.answered(seat)
        events = relay(reply, served=target.served, asked=target.asked, memory=provenance.to_dict())
        return Stream(events, provenance, stack.aclose)

    async def _prepare(self, tenant: str, path: str, body: dict[str, Any]) -> _Prepared:
        extension = Extension.parse(body.get("memory"))
        sent = {name: value for name, value in body.items() if name != "memory"}
        choice = await self._chooser.choose(tenant, path, sent, extension)
        served = choice.target.served
        sent |= {"model": served, "cache_salt": cache_salt(tenant, served, sent.get("cache_salt"))}
        return _Prepared(choice, choice.reading.put_into(sent), extension.explain)
