"""Passing a stream on as it comes: the model's name put back, and the `memory` object added at its end.

Works on the bytes of vLLM's events and parses only the one it adds to. In JSON a quote within a text is escaped, so
what is looked for here cannot be found in an answer's text.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import structlog

log = structlog.get_logger()

_END = b"\n\n"
_DONE = b"data: [DONE]"
_GOING_ON = b'"finish_reason":null'
_BROKEN = {
    "message": "The engine broke off in the middle of the answer: ask again.",
    "type": "server_error",
    "code": "engine_failed",
    "param": None,
}


async def relay(reply: httpx.Response, *, served: str, asked: str, memory: dict[str, Any]) -> AsyncIterator[bytes]:
    """Yield a reply's events; only one that ends a choice waits for the next, for the last such carries `memory`.

    Args:
        served: the engine's name of the model.
        asked: what the client calls it.
    """
    held = b""
    try:
        async for event in _events(reply):
            told = event.replace(_model(served), _model(asked), 1)
            if held:
                yield (held if _ends_choice(told) or _GOING_ON in told else _with_memory(held, memory)) + _END
                held = b""
            if _ends_choice(told):
                held = told
            else:
                yield told + _END
        if held:
            yield _with_memory(held, memory) + _END
    except httpx.HTTPError as error:
        log.warning("engine.broke_off", engine=memory["engine"], error=type(error).__name__)
        if held:
            yield held + _END
        yield b"data: " + json.dumps({"error": _BROKEN}).encode() + _END


async def _events(reply: httpx.Response) -> AsyncIterator[bytes]:
    buffer = b""
    async for block in reply.aiter_bytes():
        *events, buffer = (buffer + block).split(_END)
        for event in events:
            yield event
    if buffer.strip():
        yield buffer


def _ends_choice(event: bytes) -> bool:
    return b'"choices":[{' in event and _GOING_ON not in event and not event.startswith(_DONE)


def _with_memory(event: bytes, memory: dict[str, Any]) -> bytes:
    chunk = json.loads(event.removeprefix(b"data: "))
    return b"data: " + json.dumps({**chunk, "memory": memory}, ensure_ascii=False, separators=(",", ":")).encode()


def _model(name: str) -> bytes:
    return b'"model":' + json.dumps(name, ensure_ascii=False).encode()
