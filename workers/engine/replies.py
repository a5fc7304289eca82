"""What the guard answers by itself: JSON, and errors in the shape OpenAI clients parse."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from app.errors import ServiceError


def render_error(error: ServiceError) -> JSONResponse:
    """Return the error as the reply that says it."""
    body = {"message": error.detail, "type": error.type, "code": error.code, "param": error.param}
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s is not None else None
    return JSONResponse({"error": body}, error.status, headers)


def render(fields: Mapping[str, Any]) -> JSONResponse:
    """Return the fields as a 200."""
    return JSONResponse(dict(fields))
