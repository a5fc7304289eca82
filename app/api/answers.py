"""OpenAI's own endpoints, and `/v1/query` for people with no OpenAI client."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.context import GatewayDep, Reader
from app.api.failures import RESPONSES
from app.api.schemas import ModelList, ModelView, QueryBody, QueryReply
from app.api.uploads import read_body
from app.core.names import BASE
from app.errors import InvalidRequest
from app.services.answer import CHAT, TEXT, Stream

router = APIRouter(prefix="/v1", tags=["answers"], responses=RESPONSES)
MAX_BODY_BYTES = 16 * 2**20


def _openai_body(needed: str, schema: dict[str, Any]) -> dict[str, Any]:
    properties = {"model": {"type": "string"}, needed: schema, "stream": {"type": "boolean"}}
    properties["memory"] = {"type": "object", "description": "ids, mode: see docs/api.md"}
    body = {"type": "object", "required": ["model", needed], "properties": properties, "additionalProperties": True}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}


MESSAGES = {"type": "array", "items": {"type": "object"}}
CHAT_BODY = _openai_body("messages", MESSAGES)
TEXT_BODY = _openai_body("prompt", {"type": "string"})


class SeatedStream(StreamingResponse):
    """A streamed answer that gives its seat back exactly once, however it ends."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.events, media_type="text/event-stream", headers=stream.provenance.headers())
        self._close = stream.close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._close()


@router.post("/chat/completions", openapi_extra=CHAT_BODY, response_model=None)
async def chat(request: Request, caller: Reader, gateway: GatewayDep) -> Response:
    """Complete a chat, as OpenAI's endpoint does; `model` is `base`, or a memory's id or name."""
    return await _complete(request, CHAT, caller.tenant, gateway)


@router.post("/completions", openapi_extra=TEXT_BODY, response_model=None)
async def complete(request: Request, caller: Reader, gateway: GatewayDep) -> Response:
    """Complete a text, as OpenAI's endpoint does; `model` is `base`, or a memory's id or name."""
    return await _complete(request, TEXT, caller.tenant, gateway)


@router.post("/query", response_model=QueryReply)
async def query(body: QueryBody, response: Response, caller: Reader, gateway: GatewayDep) -> QueryReply:
    """Ask one memory one question, greedily."""
    names = [body.memories] if isinstance(body.memories, str) else body.memories
    extension: dict[str, Any] = {"ids": "auto" if names == ["auto"] else names, "mode": body.mode}
    extension["language"] = body.language
    sent = {
        "model": BASE,
        "messages": [{"role": "user", "content": body.question}],
        "memory": extension,
        "temperature": 0,
        "max_tokens": body.max_tokens,
    }
    reply, provenance = await gateway.answerer.answer(caller.tenant, CHAT, sent)
    response.headers.update(provenance.headers())
    text = reply["choices"][0]["message"]["content"] or ""
    return QueryReply(answer=text, memory=reply["memory"], usage=reply.get("usage"))


@router.get("/models", response_model=ModelList)
async def models(caller: Reader, gateway: GatewayDep) -> ModelList:
    """List what may stand in `model`: the base model, and each memory that serves, by its id and by its name."""
    found = [ModelView(id=BASE, created=0, owned_by="lorekeep")]
    more, after = True, ""
    while more:
        page, more = await gateway.memories.page(caller.tenant, limit=500, after=after)
        after = page[-1].id if page else ""
        more = more and bool(page)
        for memory in page:
            if memory.current:
                facts = {"created": int(memory.created_at), "owned_by": memory.tenant, "name": memory.name}
                found += [ModelView(id=memory.id, **facts), ModelView(id=memory.name, **facts)]
    return ModelList(data=found)


async def _complete(request: Request, path: str, tenant: str, gateway: GatewayDep) -> Response:
    body = _object(await read_body(request, MAX_BODY_BYTES))
    if body.get("stream") is True:
        return SeatedStream(await gateway.answerer.stream(tenant, path, body))
    reply, provenance = await gateway.answerer.answer(tenant, path, body)
    return JSONResponse(reply, headers=provenance.headers())


def _object(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    if not isinstance(body.get("stream", False), bool | None):
        raise InvalidRequest("`stream` must be true or false.", "stream")
    return body
