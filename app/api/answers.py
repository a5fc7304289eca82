"""OpenAI's own endpoints, and `/v1/query` for people with no OpenAI client."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.bodies import read_object
from app.api.context import GatewayDep, Reader, bearer
from app.api.failures import EVENTS, RESPONSES
from app.api.gateway import Gateway
from app.api.replies import ModelList, ModelView, OpenAiReply, QueryReply
from app.api.requests import CHAT_BODY, TEXT_BODY, QueryBody
from app.api.tasks import end
from app.core.names import BASE
from app.errors import GuardNotFound, InvalidRequest, MemoryNotFound, ModelNotFound
from app.services.answer import CHAT, TEXT, Provenance, Stream
from app.services.target import no_model
from app.stores.layout import GUARD, MEMORY

router = APIRouter(prefix="/v1", tags=["answers"], responses=RESPONSES, dependencies=[bearer])
Result = TypeVar("Result")
CLIENT_LEFT = 499
ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": OpenAiReply, "content": EVENTS}}


class SeatedStream(StreamingResponse):
    """A streamed answer that gives its seat back exactly once, however it ends."""

    def __init__(self, stream: Stream, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, media_type="text/event-stream", headers=stream.provenance.headers())
        self._close = stream.close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._close()


@router.post("/chat/completions", openapi_extra=CHAT_BODY, response_model=None, responses=ANSWER)
async def chat(request: Request, caller: Reader, gateway: GatewayDep) -> Response:
    """Complete a chat, as OpenAI's endpoint does; `model` is `base`, or a memory's or guard's id or name."""
    return await _complete(request, CHAT, caller.tenant, gateway)


@router.post("/completions", openapi_extra=TEXT_BODY, response_model=None, responses=ANSWER)
async def complete(request: Request, caller: Reader, gateway: GatewayDep) -> Response:
    """Complete a text, as OpenAI's endpoint does; `model` is `base`, or a memory's or guard's id or name."""
    return await _complete(request, TEXT, caller.tenant, gateway)


@router.post("/query", response_model=QueryReply)
async def query(request: Request, body: QueryBody, caller: Reader, gateway: GatewayDep) -> Response:
    """Ask one question, greedily: of the memory named, of several composed, or of the one the question is about."""
    names = [body.memories] if isinstance(body.memories, str) else body.memories
    if not names:
        raise InvalidRequest("Name the memory to ask.", "memories")
    ids = "auto" if names == ["auto"] else names
    sent = {
        "model": BASE,
        "messages": [{"role": "user", "content": body.question}],
        "memory": {
            "ids": ids,
            "mode": body.mode,
            "language": body.language,
            "compose": body.compose and body.compose.model_dump(),
            "explain": body.explain,
        },
        "temperature": 0,
        "max_tokens": body.max_tokens,
    }
    found = await _unless_gone(request, gateway.answerer.answer(caller.tenant, CHAT, sent))
    if found is None:
        return Response(status_code=CLIENT_LEFT)
    reply, provenance = found
    _count(gateway, provenance)
    answer = {"answer": reply["choices"][0]["message"]["content"] or "", "memory": reply["memory"]}
    return JSONResponse({**answer, "usage": reply.get("usage")}, headers=provenance.headers())


@router.get("/models", response_model=ModelList)
async def models(caller: Reader, gateway: GatewayDep) -> ModelList:
    """List what may stand in `model`: the base model and every memory and guard that serves, by id and by name."""
    found, names = [ModelView(id=BASE, created=0, owned_by="lorekeep")], set[str]()
    for kind in (MEMORY, GUARD):
        async for one in gateway.memories.every(caller.tenant, kind):
            called = [one.id] if one.name in names else [one.id, one.name]  # a name means the memory before the guard
            names.add(one.name)
            if one.current:
                facts = {"created": int(one.created_at), "owned_by": one.tenant, "name": one.name}
                found += [ModelView(id=model, **facts) for model in called]
    return ModelList(data=found)


@router.get("/models/{model}", response_model=ModelView)
async def get_model(model: str, caller: Reader, gateway: GatewayDep) -> ModelView:
    """Show one model."""
    if model == BASE:
        return ModelView(id=BASE, created=0, owned_by="lorekeep")
    try:
        found = await gateway.memories.find(caller.tenant, model)
    except MemoryNotFound:
        try:
            found = await gateway.guards.find(caller.tenant, model)
        except GuardNotFound as error:
            raise no_model(model) from error
    if not found.current:
        raise ModelNotFound(f"{found.name!r} cannot answer yet.", "model")
    return ModelView(id=model, created=int(found.created_at), owned_by=found.tenant, name=found.name)


async def _complete(request: Request, path: str, tenant: str, gateway: Gateway) -> Response:
    body = await read_object(request)
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidRequest("`stream` must be true or false.", "stream")
    if stream:
        return await _stream(request, path, tenant, gateway, body)
    found = await _unless_gone(request, gateway.answerer.answer(tenant, path, body))
    if found is None:
        return Response(status_code=CLIENT_LEFT)
    reply, provenance = found
    _count(gateway, provenance)
    return JSONResponse(reply, headers=provenance.headers())


async def _stream(request: Request, path: str, tenant: str, gateway: Gateway, body: dict[str, Any]) -> Response:
    begun = await _unless_gone(request, gateway.answerer.stream(tenant, path, body), drop=_close)
    if begun is None:
        return Response(status_code=CLIENT_LEFT)
    _count(gateway, begun.provenance)
    return SeatedStream(begun, _timed(gateway, begun.events, request.state.began))


async def _close(stream: Stream) -> None:
    await stream.close()


async def _timed(gateway: Gateway, events: AsyncIterator[bytes], began: float) -> AsyncIterator[bytes]:
    """Note when the first token came: the second event, for the first one only opens the answer."""
    count = 0
    async for event in events:
        count += 1
        if count == 2:
            gateway.metrics.first_token.observe(time.perf_counter() - began)
        yield event


def _count(gateway: Gateway, provenance: Provenance) -> None:
    seat = provenance.seat
    gateway.metrics.seated(cold=seat.cold, load_ms=seat.load_ms, waited_s=seat.waited_s)


async def _unless_gone(
    request: Request,
    work: Coroutine[Any, Any, Result],
    drop: Callable[[Result], Awaitable[None]] | None = None,
) -> Result | None:
    """Do the work, but stop it, and the engine's, when the client leaves; None then.

    Args:
        drop: gets rid of a result that came too late.
    """
    doing = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
    finally:
        await end([leaving])
        if not doing.done():
            await end([doing])
            if drop and not doing.cancelled() and not doing.exception():
                await drop(doing.result())
    return None


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
