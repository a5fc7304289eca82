"""Every failure in the one shape that OpenAI clients parse; none shows a stack trace."""

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from redis.exceptions import ConnectionError, RedisError, TimeoutError
from starlette.exceptions import HTTPException

from app.core.errors import InvalidValue
from app.errors import InvalidRequest, RegistryUnavailable, ServiceError, Unavailable

log = structlog.get_logger()


class ErrorBody(BaseModel):
    """What went wrong, and what to do."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "message": "There is no memory 'mem_01…'.",
                "type": "not_found_error",
                "code": "memory_not_found",
                "param": None,
            }
        }
    )

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
        422: "Too much for the base model, or a composite that broke, with the numbers.",
        429: "Busy: try again after `Retry-After` seconds.",
        502: "An engine failed.",
        503: "Something the gateway needs is away: try again after `Retry-After` seconds.",
        504: "An engine did not answer in time.",
    }.items()
}

_SCHEMA = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}}
# for calls whose reply is no JSON: their errors are, all the same
JSON_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": response["description"], "content": _SCHEMA} for status, response in RESPONSES.items()
}

EVENTS: dict[str, Any] = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "required": ["data"],
            "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
        }
    }
}
STREAM: dict[int | str, dict[str, Any]] = {**JSON_RESPONSES, 200: {"content": EVENTS}}

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
_SENTENCES = {
    404: "There is nothing at this address: GET /openapi.json lists what there is.",
    405: "This address does not take that method: GET /openapi.json lists what it takes.",
}
_SAID = {"extra_forbidden": "is not a field of this request", "missing": "is missing"}
_PLACES = {"body", "query", "path", "header"}


def install_handlers(app: FastAPI) -> None:
    """Render every exception in one shape."""
    for kind in (ServiceError, InvalidValue, RequestValidationError, HTTPException, RedisError, OSError, Exception):
        app.add_exception_handler(kind, _handle)


async def _handle(request: Request, error: Exception) -> JSONResponse:
    return to_response(error, request.state.request_id)


def to_response(error: Exception, request_id: str) -> JSONResponse:
    """Return the reply that tells of an error; one that nobody foresaw is a 500 with the request's id."""
    known = translate(error)
    if known is None:
        log.error("request.failed", exc_info=error)
        known = ServiceError(f"The gateway failed unexpectedly: its log says where, under {request_id}.")
    headers = {"X-Request-Id": request_id}
    if known.retry_after_s is not None:
        headers["Retry-After"] = str(known.retry_after_s)
    if known.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = ErrorReply(error=ErrorBody(message=known.detail, type=known.type, code=known.code, param=known.param))
    return JSONResponse(body.model_dump(), known.status, headers)


def translate(error: Exception) -> ServiceError | None:
    """Return the error of ours that an exception means; None where nobody foresaw it."""
    found: ServiceError | None = None
    match error:
        case ServiceError():
            found = error
        case InvalidValue():
            found = InvalidRequest(str(error))
        case RequestValidationError():
            found = invalid(error.errors())
        case HTTPException():
            found = _of_http(error)
        case ConnectionError() | TimeoutError():
            log.warning("registry.unreachable", error=type(error).__name__)
            found = RegistryUnavailable("The registry cannot be reached: try again in a moment.")
        case RedisError():  # NOREPLICAS, MISCONF, OOM, READONLY
            log.error("registry.refused", error=type(error).__name__, reason=str(error))
            found = RegistryUnavailable("The registry refuses to write: its log and the gateway's say why.")
        case OSError():
            log.error("artifacts.broken", exc_info=error)
            found = Unavailable("The artifact store does not work: try again in a moment.")
    return found


def invalid(problems: Sequence[Any], under: str = "") -> InvalidRequest:
    """Return what pydantic found as one sentence that names the field.

    Args:
        under: the field that was parsed on its own.
    """
    first = problems[0]
    if first["type"] == "json_invalid":
        return InvalidRequest(f"{under or 'The body'} is not valid JSON.", under or None)
    place = [str(part) for part in first["loc"]]
    if place and place[0] in _PLACES:
        place = place[1:]
    name = ".".join([under, *place] if under else place)[:128].encode("utf-8", "replace").decode() or None
    said = _SAID.get(first["type"], str(first["msg"])[:300])
    return InvalidRequest(f"{name or 'The body'}: {said}.", name)


def _of_http(error: HTTPException) -> ServiceError:
    status = error.status_code
    kind = type("HttpError", (ServiceError,), {"status": status, "code": _CODES.get(status, "invalid_request")})
    found: ServiceError = kind(_SENTENCES.get(status, str(error.detail)))
    return found
