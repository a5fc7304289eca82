"""Every failure in the one shape that OpenAI clients parse."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from app.core.errors import InvalidValue
from app.errors import InvalidRequest, RegistryUnavailable, ServiceError

log = structlog.get_logger()


class ErrorBody(BaseModel):
    """What went wrong, and what to do."""

    message: str
    type: str
    code: str
    param: str | None = None


class ErrorReply(BaseModel):
    """The shape of every error."""

    error: ErrorBody


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply, "description": text}
    for status, text in {
        400: "The request is wrong; the message says what to do.",
        401: "No valid API key.",
        403: "The key's role does not allow this.",
        404: "There is no such thing in this tenant.",
        409: "The request contradicts the state of things.",
        413: "Too large.",
        415: "A kind of document or body that cannot be read.",
        422: "The engine refuses the request.",
        429: "Busy: try again after `Retry-After` seconds.",
        502: "An engine failed.",
        503: "Something the gateway needs is away: try again after `Retry-After` seconds.",
    }.items()
}


_UNFORESEEN = "The gateway failed unexpectedly: its log says where, under this X-Request-Id."


def install_handlers(app: FastAPI) -> None:
    """Render every exception in one shape."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(InvalidValue, _invalid_value)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RedisError, _redis_error)
    app.add_exception_handler(Exception, _unforeseen)


def to_response(error: ServiceError) -> JSONResponse:
    """Return the reply that tells a client of an error."""
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _reply(error.status, error.detail, error.code, error.param, headers)


async def _service_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    return to_response(error)


async def _invalid_value(_: Request, error: Exception) -> JSONResponse:
    return to_response(InvalidRequest(str(error)))


async def _validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    what = "The body is not valid JSON" if first["type"] == "json_invalid" else str(first["msg"])
    return to_response(InvalidRequest(f"{place}: {what}." if place else f"{what}.", place or None))


async def _http_exception(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    texts = {404: "There is nothing at this address.", 405: "This address does not answer to this method."}
    codes = {404: "not_found", 405: "method_not_allowed"}
    text = texts.get(error.status_code, str(error.detail))
    return _reply(error.status_code, text, codes.get(error.status_code, "invalid_request"), None, error.headers or {})


async def _redis_error(_: Request, error: Exception) -> JSONResponse:
    log.warning("registry.unreachable", error=type(error).__name__)
    return to_response(RegistryUnavailable("The registry cannot be reached: try again in a moment."))


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    log.error("request.failed", path=request.url.path, exc_info=error)
    return _reply(500, _UNFORESEEN, "internal", None, {})


def _reply(status: int, message: str, code: str, param: str | None, headers: Mapping[str, str]) -> JSONResponse:
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = ErrorReply(error=ErrorBody(message=message, type=kind, code=code, param=param))
    return JSONResponse(body.model_dump(), status, headers=dict(headers))
