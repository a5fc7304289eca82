"""JSON bodies that are passed on: read whole, and refused where an engine's client could not send them again."""

import json
import math
from typing import Any

from fastapi import Request

from app.errors import InvalidRequest, UnsupportedDocument

MAX_DEPTH = 64


async def read_object(request: Request) -> dict[str, Any]:
    """Read the body as one JSON object.

    Raises:
        UnsupportedDocument: it does not say that it is JSON.
        InvalidRequest: it is not, or nothing that can be sent on.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedDocument("Send the request as JSON, with `Content-Type: application/json`.")
    data = await request.body()
    try:
        body = json.loads(data.decode(), parse_float=_finite, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise InvalidRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")
    if b"\\ud" in data.lower():
        _check_text(body)
    return body


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _refused(text: str) -> float:
    raise ValueError(text)


def _check_text(body: dict[str, Any]) -> None:
    """Refuse half of a surrogate pair: no encoding of Unicode has it."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("The body holds text that is not Unicode.") from error


def _depth(body: object) -> int:
    level, depth = [body], 0
    while level:
        depth += 1
        inner = [
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, dict | list)
        ]
        level = [one for values in inner for one in values]
    return depth
