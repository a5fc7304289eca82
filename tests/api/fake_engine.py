"""An engine that acts like vLLM behind its guard, on a transport of its own."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx

from app.core.composition import Composition
from app.core.engines import EngineRecord, Residency
from app.core.names import BASE
from app.errors import InvalidRequest
from app.stores.engines import EngineStore
from workers.engine.requests import read_purge

BASE_DIGEST = "b" * 64  # of the base model that it has


class Engine:
    """One engine: what it holds, what it was asked, and how it fails when told to.

    Attributes:
        asked: bodies of answers; what is counted or looked at only is in `probed`.
        unsure: adapters that guess: their first token is any of twenty.
        hold: answers wait for it where it is set.
        fail: exceptions raised instead of the next replies.
        composed: composites whose files it keeps, by name, with their recipes.
        break_after: how many events of a stream are sent before the connection breaks.
    """

    def __init__(self, name: str, *, max_loras: int = 4) -> None:
        self.id, self.url, self.max_loras = name, f"http://{name}", max_loras
        self.held: set[str] = set()
        self.asked: list[dict[str, Any]] = []
        self.probed: list[dict[str, Any]] = []
        self.unsure: set[str] = set()
        self.loads: list[str] = []
        self.removed: list[str] = []
        self.composed: dict[str, dict[str, Any]] = {}
        self.composes = 0
        self.refuse_composites = False
        self.fail: list[type[httpx.TransportError]] = []
        self.refuse: tuple[int, dict[str, Any]] | None = None
        self.hold: asyncio.Event | None = None
        self.break_after: int | None = None
        self.epoch = 1
        self.active = 0
        self.closed = 0
        self.begun = asyncio.Event()

    def record(self, *resident: str) -> EngineRecord:
        """Return what its agent would report."""
        now = time.time()
        return EngineRecord(
            id=self.id,
            url=self.url,
            epoch=self.epoch,
            base_digest=BASE_DIGEST,
            device="cpu",
            max_loras=self.max_loras,
            capacity=32,
            max_lora_rank=16,
            max_model_len=2048,
            vllm="0.32.0",
            started_at=now,
            heartbeat_at=now,
            resident={name: Residency(now, 50.0, now) for name in resident},
        )

    async def report(self, store: EngineStore, *resident: str) -> None:
        """Report to the registry, as an agent does."""
        self.held |= set(resident)
        await store.report(self.record(*resident), 60)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if self.fail:
            raise self.fail.pop(0)("broken", request=request)
        if not request.headers["authorization"].startswith("Bearer lke_"):
            return _error(401, "invalid_api_key", "No key.")
        if request.url.path.startswith("/internal/adapters"):
            return self._adapters(request)
        body = json.loads(request.content)
        looked_at = request.url.path == "/tokenize" or (body.get("max_tokens") == 1 and body.get("logprobs"))
        (self.probed if looked_at else self.asked).append(body)
        if self.refuse:
            return httpx.Response(self.refuse[0], json=self.refuse[1])
        if body["model"] != BASE and body["model"] not in self.held:
            return _error(404, "model_not_found", f"This engine does not hold {body['model']!r}.")
        if body.get("stream"):
            return httpx.Response(200, stream=_Stream(self, body, request))
        self.active += 1
        self.begun.set()
        try:
            if self.hold:
                await self.hold.wait()
        finally:
            self.active -= 1
        return httpx.Response(200, json=answer(body, request.url.path, sure=body["model"] not in self.unsure))

    def _adapters(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/compose"):
            return self._compose(json.loads(request.content))
        if request.url.path.endswith("/purge"):
            return self._purge(json.loads(request.content))
        if request.method == "POST":
            name = json.loads(request.content)["name"]
            cold = name not in self.held
            self.held.add(name)
            self.loads.append(name)
            return httpx.Response(200, json={"name": name, "load_ms": 52.5, "cold": cold})
        name = request.url.path.rsplit("/", 1)[-1]
        removed = name in self.held
        if removed:
            self.held.discard(name)
            self.removed.append(name)
        return httpx.Response(200, json={"name": name, "removed": removed})

    def _compose(self, body: dict[str, Any]) -> httpx.Response:
        name = str(Composition.from_dict(body).name)
        if self.refuse_composites:
            return _error(422, "composite_rejected", "The composite broke: 3.00 nats.")
        cold = name not in self.held
        self.composes += 1
        self.held.add(name)
        self.composed[name] = body
        return httpx.Response(200, json={"name": name, "load_ms": 80.0, "cold": cold, "facts": {"rank": 8}})

    def _purge(self, body: dict[str, Any]) -> httpx.Response:
        try:
            gone = read_purge(body)
        except InvalidRequest as error:
            return _error(400, error.code, error.detail)
        member = f"{gone.tenant}.{gone.memory_id}."
        found = [name for name, recipe in self.composed.items() if member in " ".join(recipe["members"])]
        self.held -= set(found)
        if gone.files:
            self.composed = {name: body for name, body in self.composed.items() if name not in found}
        return httpx.Response(200, json={"composites": found})


def text_of(body: dict[str, Any]) -> str:
    """Return what the engine says: which weights answered."""
    return f"from {body['model']}"


def answer(body: dict[str, Any], path: str, *, sure: bool = True) -> dict[str, Any]:
    """Return vLLM's reply in one piece; to its tokenizer a word is a token.

    Args:
        sure: of the first token; else twenty are as likely.
    """
    if path == "/tokenize":
        return {"count": len(body["prompt"].split()), "tokens": list(range(len(body["prompt"].split())))}
    text = text_of(body)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    choice |= {"message": {"role": "assistant", "content": text}} if "chat" in path else {"text": text}
    if body.get("logprobs"):
        choice["logprobs"] = first_token(path, sure=sure and body["model"] != BASE)
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {"id": "c-1", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}


def first_token(path: str, *, sure: bool) -> dict[str, Any]:
    """Return the log-probabilities of a reply of one token, in the form that the endpoint has."""
    listed = {"from": 0.0} if sure else {f"t{number}": math.log(1 / 20) for number in range(20)}
    if "chat" not in path:
        return {"token_logprobs": [max(listed.values())], "top_logprobs": [listed]}
    top = [{"token": token, "logprob": logprob} for token, logprob in listed.items()]
    return {"content": [{**top[0], "top_logprobs": top}]}


def events_of(body: dict[str, Any]) -> list[bytes]:
    """Return vLLM's reply as the events of a stream."""
    pieces: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    pieces += [({"content": piece}, None) for piece in text_of(body).split(" ")]
    pieces += [({"content": '"finish_reason":null says "choices":[{'}, None), ({}, "stop")]
    head = {"id": "c-1", "object": "chat.completion.chunk", "model": body["model"]}
    chunks: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} for delta, reason in pieces
    ]
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**head, "choices": [], "usage": {"total_tokens": 5}})
    return [_event(json.dumps(chunk, separators=(",", ":"))) for chunk in chunks] + [_event("[DONE]")]


class _Stream(httpx.AsyncByteStream):
    """A stream that can break, wait, and tell that it was closed."""

    def __init__(self, engine: Engine, body: dict[str, Any], request: httpx.Request) -> None:
        self._engine, self._body, self._request = engine, body, request
        engine.active += 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, event in enumerate(events_of(self._body)):
            if self._engine.break_after is not None and number >= self._engine.break_after:
                raise httpx.RemoteProtocolError("peer closed connection", request=self._request)
            yield event[:7]
            yield event[7:]
            if number == 1 and self._engine.hold:
                await self._engine.hold.wait()

    async def aclose(self) -> None:
        self._engine.active -= 1
        self._engine.closed += 1


def _event(text: str) -> bytes:
    return f"data: {text}\n\n".encode()


def _error(status: int, code: str, message: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, "type": "t", "code": code, "param": "model"}})


def transport(*engines: Engine) -> httpx.MockTransport:
    """Return a transport that reaches the engines by their addresses."""
    by_host = {engine.id: engine for engine in engines}

    async def handle(request: httpx.Request) -> httpx.Response:
        return await by_host[request.url.host].handle(request)

    return httpx.MockTransport(handle)
