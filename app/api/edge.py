"""The outermost layer: a request's id, its key, its size, its figures. Plain ASGI, so that streams stay streams."""

import asyncio
import re
import time
from typing import Any

import structlog
from redis.exceptions import RedisError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from app.api import console
from app.api.failures import to_response
from app.api.gateway import Gateway
from app.errors import RegistryUnavailable, ServiceError, TooLarge, Unauthenticated
from app.settings import Settings
from app.stores.keys import ApiKey

OPEN = console.OPEN | {"/healthz", "/readyz", "/favicon.ico"}
_TO_ENGINES = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/query"})
_KEY_S = 5.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BEARER = re.compile(r"[Bb]earer +([\x21-\x7e]{1,256})")


class Edge:
    """Lets in what shows a key and is not too large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        gateway: Gateway = scope["app"].state.gateway
        state: dict[str, Any] = scope.setdefault("state", {})
        shown = Headers(scope=scope).get("x-request-id", "")
        state["request_id"] = shown if _REQUEST_ID.fullmatch(shown) else f"req_{str(ULID()).lower()}"
        state["began"] = began = time.perf_counter()
        status = 500

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = state["request_id"]
            await send(message)

        with (
            structlog.contextvars.bound_contextvars(request_id=state["request_id"]),
            gateway.metrics.in_flight.track_inprogress(),
        ):
            try:
                await self._serve(gateway, scope, receive, tell)
            finally:
                _count(gateway, scope, status, time.perf_counter() - began)

    async def _serve(self, gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["path"] not in OPEN:
                scope["state"]["key"] = await _authenticate(gateway, scope)
            limited = _limited(gateway, scope, receive)
        except (ServiceError, RedisError) as error:
            await to_response(error, scope["state"]["request_id"])(scope, receive, send)
            return
        await self._app(scope, limited, send)


async def _authenticate(gateway: Gateway, scope: Scope) -> ApiKey:
    """Return the key that the request shows; looked up every time, so that a revoked one is dead at once."""
    match = _BEARER.fullmatch(Headers(scope=scope).get("authorization", ""))
    if match is None:
        raise Unauthenticated("Send your API key: `Authorization: Bearer <key>`.")
    try:
        async with asyncio.timeout(_KEY_S):
            return await gateway.keys.check(match[1])
    except TimeoutError as error:
        raise RegistryUnavailable("The registry does not answer: try again in a moment.") from error


def _limited(gateway: Gateway, scope: Scope, receive: Receive) -> Receive:
    """Refuse a body that says it is too large, and stop reading one that turns out to be."""
    most = _most_bytes(gateway.settings, scope)
    sentence = f"The request is above {most} bytes: send less at once."
    announced = Headers(scope=scope).get("content-length", "")
    if announced.isdecimal() and int(announced[:19]) > most:
        raise TooLarge(sentence)
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise HTTPException(413, sentence)
        return message

    return limited


def _most_bytes(settings: Settings, scope: Scope) -> int:
    if scope["path"] in _TO_ENGINES:
        return settings.engine_max_body_bytes
    importing = (scope["method"], scope["path"]) == ("POST", "/v1/memories/import")
    return settings.max_import_bytes if importing else settings.max_upload_bytes


def _count(gateway: Gateway, scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "unknown")
    gateway.metrics.requests.labels(route, scope["method"], str(status)).inc()
    gateway.metrics.latency.labels(route).observe(seconds)
