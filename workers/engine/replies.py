"""What the guard answers by itself: JSON, and errors in the shape OpenAI clients parse."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from app.errors import ServiceError

_TYPES = {401: "authentication_error", 404: "not_found_error", 409: "conflict_error", 429: "rate_limit_error"}


def render_error(error: ServiceError) -> JSONResponse:
    """Return the error as the reply that says it."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    body = {"message": error.detail, "type": kind, "code": error.code, "param": error.param}
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s is not None else None
    return JSONResponse({"error": body}, error.status, headers)


def render(fields: Mapping[str, Any]) -> JSONResponse:
    """Return the fields as a 200."""
    return JSONResponse(dict(fields))
