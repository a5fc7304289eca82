"""Answers: a client's OpenAI request, sent to an engine that serves what it names, and the reply that says who did.

The body passes unchanged but for `model`, our `memory` extension and `cache_salt`.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from app.core.names import AdapterName
from app.engines.client import EngineClient
from app.engines.fleet import Fleet, Seat
from app.errors import EngineFailed, InvalidRequest, ModelNotFound, NoPassages, ServiceError
from app.services.retrieve import Hit, IndexCache, PassageIndex
from app.services.target import Extension, Resolver, Target
from app.stores.artifacts import ArtifactStore

log = structlog.get_logger()

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
PASSAGES = 3


@dataclass(frozen=True)
class Provenance:
    """Which memory answered, from what and where: the `memory` object of a reply."""

    target: Target
    seat: Seat
    passages: list[Hit] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the object that replies carry."""
        used = [{"id": self.target.memory_id, "version": self.target.version, "score": None}]
        return {
            "mode": self.target.mode if self.target.adapter else "base",
            "used": used if self.target.adapter else [],
            "passages": [{"text": hit.text, "score": hit.score} for hit in self.passages],
            "engine": self.seat.engine.id,
            "cold": self.seat.cold,
            "load_ms": round(self.seat.load_ms, 1),
            "abstained": False,
        }

    def headers(self) -> dict[str, str]:
        """Return the headers that every reply carries."""
        fields = self.to_dict()
        return {
            "X-Lorekeep-Memory": self.target.memory_id or "base",
            "X-Lorekeep-Version": str(self.target.version),
            "X-Lorekeep-Mode": fields["mode"],
            "X-Lorekeep-Engine": fields["engine"],
            "X-Lorekeep-Cold": str(fields["cold"]).lower(),
            "X-Lorekeep-Load-Ms": str(fields["load_ms"]),
        }


@dataclass(frozen=True)
class Stream:
    """An answer in pieces. Whoever takes it calls `close` once, however it ends."""

    events: AsyncIterator[bytes]
    provenance: Provenance
    close: Any


class Answerer:
    """Answers requests from engines."""

    def __init__(self, resolver: Resolver, fleet: Fleet, client: EngineClient, artifacts: ArtifactStore) -> None:
        self._resolver, self._fleet, self._client, self._artifacts = resolver, fleet, client, artifacts
        self._indexes = IndexCache()

    async def answer(self, tenant: str, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], Provenance]:
        """Answer in one piece.

        Raises:
            ServiceError: as the parts say; a 4xx of the engine keeps its message.
        """
        target, sent, passages = await self._prepare(tenant, path, body)
        for last in (False, True):
            try:
                async with self._fleet.seat(
                    target.adapter if target.mode == "adapter" and target.adapter else None
                ) as seat:
                    reply = await self._ask(seat, path, sent)
            except (ModelNotFound, EngineFailed) as error:
                if last:
                    raise _gone(error) from error
                continue
            provenance = Provenance(target, seat, passages)
            return {**reply, "model": target.asked, "memory": provenance.to_dict()}, provenance
        raise AssertionError("unreachable")

    async def stream(self, tenant: str, path: str, body: dict[str, Any]) -> Stream:
        """Answer in pieces; returns once the engine has accepted the request.

        Raises:
            ServiceError: as in `answer`, before the first piece.
        """
        target, sent, passages = await self._prepare(tenant, path, body)
        for last in (False, True):
            stack = AsyncExitStack()
            try:
                adapter = target.adapter if target.mode == "adapter" and target.adapter else None
                seat = await stack.enter_async_context(self._fleet.seat(adapter))
                reply = await self._open(seat, path, sent)
            except BaseException as error:
                await stack.aclose()
                if isinstance(error, ModelNotFound | EngineFailed) and not last:
                    continue
                if isinstance(error, ModelNotFound | EngineFailed):
                    raise _gone(error) from error
                raise
            stack.push_async_callback(reply.aclose)
            provenance = Provenance(target, seat, passages)
            return Stream(_told(reply, target, provenance), provenance, stack.aclose)
        raise AssertionError("unreachable")

    async def _ask(self, seat: Seat, path: str, sent: dict[str, Any]) -> dict[str, Any]:
        try:
            send = self._client.chat if path == CHAT else self._client.complete
            return await send(seat.engine.url, sent)
        except ModelNotFound:
            self._fleet.forget(seat.engine.id, sent["model"])
            raise
        except EngineFailed:
            self._fleet.suspect(seat.engine.id)
            raise

    async def _open(self, seat: Seat, path: str, sent: dict[str, Any]) -> httpx.Response:
        try:
            return await self._client.open_stream(seat.engine.url, path, sent)
        except ModelNotFound:
            self._fleet.forget(seat.engine.id, sent["model"])
            raise
        except EngineFailed:
            self._fleet.suspect(seat.engine.id)
            raise

    async def _prepare(self, tenant: str, path: str, body: dict[str, Any]) -> tuple[Target, dict[str, Any], list[Hit]]:
        extension = Extension.parse(body.get("memory"))
        target = await self._resolver.resolve(tenant, body.get("model"), extension)
        sent = {name: value for name, value in body.items() if name != "memory"}
        sent["model"] = target.served
        sent["cache_salt"] = _salt(tenant, target, body.get("cache_salt"))
        passages: list[Hit] = []
        if target.mode == "context" and target.adapter:
            passages = await self._passages(target, _question(path, sent))
            sent = _with_passages(path, sent, passages)
        return target, sent, passages

    async def _passages(self, target: Target, question: str) -> list[Hit]:
        index = self._indexes.get(target.adapter)
        if index is None:
            index = await asyncio.to_thread(self._index, target.adapter)
            self._indexes.put(target.adapter, index)
        hits = await asyncio.to_thread(index.search, question, PASSAGES)
        if not hits:
            raise NoPassages("No passage of this memory shares a word with the question: ask it with mode adapter.")
        return hits

    def _index(self, adapter: str) -> PassageIndex:
        rows = self._artifacts.read_lines(AdapterName.parse(adapter), "passages.jsonl")
        return PassageIndex([row["text"] for row in rows])


async def _told(reply: httpx.Response, target: Target, provenance: Provenance) -> AsyncIterator[bytes]:
    """Pass events on as they come, one held back: the last one before the end carries the `memory` object."""
    served = f'"model":{json.dumps(target.served)}'.encode()
    asked = f'"model":{json.dumps(target.asked)}'.encode()
    held = b""
    buffer = b""
    try:
        async for block in reply.aiter_bytes():
            buffer += block
            *events, buffer = buffer.split(b"\n\n")
            for event in events:
                if event.strip() == b"data: [DONE]":
                    held = _with_memory(held, provenance)
                if held:
                    yield held + b"\n\n"
                held = event.replace(served, asked)
        if held:
            yield held + b"\n\n"
    except httpx.HTTPError as error:
        log.warning("engine.broke_off", engine=provenance.seat.engine.id, error=type(error).__name__)
        if held:
            yield held + b"\n\n"
        broken = {"message": "The engine broke off in the middle of the answer: ask again.", "type": "server_error"}
        yield b"data: " + json.dumps({"error": {**broken, "code": "engine_failed", "param": None}}).encode() + b"\n\n"


def _with_memory(event: bytes, provenance: Provenance) -> bytes:
    if not event.startswith(b"data: {"):
        return event
    chunk = json.loads(event.removeprefix(b"data: "))
    return b"data: " + json.dumps({**chunk, "memory": provenance.to_dict()}, ensure_ascii=False).encode()


def _salt(tenant: str, target: Target, own: object) -> str:
    """Return a salt that no other tenant, version or client salt shares, so neither does a cached prefix."""
    return hashlib.sha256(json.dumps([tenant, target.adapter, str(own or "")]).encode()).hexdigest()


def _question(path: str, body: dict[str, Any]) -> str:
    """Return the text to find passages for: the user's last message, or the prompt."""
    if path == TEXT:
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise InvalidRequest("With memory.mode context the prompt must be one text.", "prompt")
        return prompt
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user" or not isinstance(last.get("content"), str):
        raise InvalidRequest("With memory.mode context the last message must be the user's, as text.", "messages")
    return str(last["content"])


def _with_passages(path: str, body: dict[str, Any], hits: list[Hit]) -> dict[str, Any]:
    quoted = "\n\n".join(hit.text for hit in hits)
    if path == TEXT:
        return {**body, "prompt": f"{quoted}\n\n{body['prompt']}"}
    *before, last = body["messages"]
    text = f"Answer from these passages:\n\n{quoted}\n\nQuestion: {last['content']}"
    return {**body, "messages": [*before, {**last, "content": text}]}


def _gone(error: ServiceError) -> ServiceError:
    if isinstance(error, ModelNotFound):
        return EngineFailed("The engine lost this memory while it was asked: ask again.")
    return error
