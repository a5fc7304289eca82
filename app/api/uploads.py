"""Uploads as they come: a form with files, or JSON with texts; never more than the limit is read."""

import json
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from app.api.schemas import DocumentsBody, OptionsBody, RememberBody
from app.core.recipe import Recipe
from app.errors import InvalidRequest, TooLarge, UnsupportedDocument
from app.services.remember import Options, Upload

MAX_FILES = 1000
Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True)
class Received:
    """What an upload holds."""

    name: str | None
    uploads: list[Upload]
    options: Options
    recipe_given: bool


async def receive(request: Request, limit: int, *, named: bool) -> Received:
    """Read an upload.

    Args:
        limit: the most bytes that the body may have.
        named: whether the upload may name the memory.

    Raises:
        TooLarge, UnsupportedDocument, InvalidRequest: the text says what to do.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await read_body(request, limit)
    if kind == "multipart/form-data":
        return await _from_form(request, body)
    if kind in {"application/json", ""}:
        return _from_json(body, RememberBody if named else DocumentsBody)
    raise UnsupportedDocument("Send multipart/form-data with `file`, or application/json with `documents`.")


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body.

    Raises:
        TooLarge: it is above the limit; the rest is not read.
    """
    declared = request.headers.get("content-length", "0")
    body = bytearray()
    if not declared.isdigit() or int(declared) <= limit:
        async for block in request.stream():
            body += block
            if len(body) > limit:
                break
        else:
            return bytes(body)
    raise TooLarge(f"The upload is above {limit / 2**20:.0f} MiB: send fewer or smaller documents.")


async def _from_form(request: Request, body: bytes) -> Received:
    async def replay() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        form = await Request(request.scope, replay).form(max_files=MAX_FILES, max_fields=10)
    except HTTPException as error:
        raise InvalidRequest(f"The form cannot be read: {error.detail}.") from error
    unknown = set(form) - {"file", "name", "options"}
    if unknown:
        raise InvalidRequest(f"The form has a field {sorted(unknown)[0][:64]!r}: fields are file, name, options.")
    files = [one for one in form.getlist("file") if isinstance(one, UploadFile)]
    uploads = [Upload(one.filename or "", await one.read()) for one in files]
    options = _options(_text(form, "options"))
    return Received(_text(form, "name"), uploads, _to_options(options), options.recipe is not None)


def _from_json(body: bytes, shape: type[RememberBody | DocumentsBody]) -> Received:
    read = _parse(shape, body, "")
    uploads = [Upload(one.name, one.text.encode("utf-8", "replace")) for one in read.documents]
    options = read.options
    return Received(getattr(read, "name", None), uploads, _to_options(options), options.recipe is not None)


def _text(form: FormData, name: str) -> str | None:
    value = form.get(name)
    if isinstance(value, UploadFile):
        raise InvalidRequest(f"`{name}` must be text, not a file.", name)
    return value


def _options(text: str | None) -> OptionsBody:
    return _parse(OptionsBody, text.encode("utf-8", "replace"), "options") if text else OptionsBody()


def _to_options(body: OptionsBody) -> Options:
    recipe = Recipe.from_dict(body.recipe) if body.recipe else Recipe()
    return Options(recipe, dict(body.metadata), body.allow_duplicate, body.pinned)


def _parse(shape: type[Shape], body: bytes, where: str) -> Shape:
    try:
        return shape.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(filter(None, [where, *map(str, first["loc"])]))
        raise InvalidRequest(f"{place or 'body'}: {first['msg']}.", place or None) from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{where or 'The body'} is not valid JSON.", where or None) from error
