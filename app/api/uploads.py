"""Uploads as they come: a form with files, or JSON with texts. The edge has limited their size."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile

from app.api.failures import invalid
from app.api.requests import (
    DocumentsBody,
    OptionsBody,
    PlanBody,
    RememberBody,
    TextDocument,
    TrainingBody,
)
from app.core.load import TOKENS_PER_FACT, Facts, Load
from app.errors import InvalidRequest, UnsupportedDocument
from app.services.drafts import Ask, Options
from app.services.remember import Upload

MAX_FILES = 1000
_FORM = "multipart/form-data"
Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True)
class NewMemory:
    """What an upload of a new memory holds."""

    name: str | None
    uploads: list[Upload]
    options: Options


@dataclass(frozen=True)
class MoreDocuments:
    """What an upload of more documents holds; what is left open is the latest version's."""

    uploads: list[Upload]
    ask: Ask


@dataclass(frozen=True)
class PlanQuestion:
    """What a plan is asked for: documents, or the load where it was stated."""

    uploads: list[Upload]
    load: Load | None
    ask: Ask


async def read_new_memory(request: Request) -> NewMemory:
    """Read an upload.

    Raises:
        UnsupportedDocument, InvalidRequest: the text says what to do.
    """
    if _is_form(request):
        async with _open_form(request) as form:
            _check_fields(form, {"file", "name", "options"})
            options = _parse(OptionsBody, _text(form, "options") or "{}", "options")
            return NewMemory(_text(form, "name"), await _files(form), _options(options))
    body = _parse(RememberBody, await request.body())
    return NewMemory(body.name, _texts(body.documents), _options(body.options))


async def read_more_documents(request: Request) -> MoreDocuments:
    """Read an upload; raises what `read_new_memory` does."""
    if _is_form(request):
        async with _open_form(request) as form:
            _check_fields(form, {"file", "options"})
            options = _parse(TrainingBody, _text(form, "options") or "{}", "options")
            return MoreDocuments(await _files(form), ask_of(options))
    body = _parse(DocumentsBody, await request.body())
    return MoreDocuments(_texts(body.documents), ask_of(body.options))


async def read_question(request: Request) -> PlanQuestion:
    """Read what a plan is asked for; raises what `read_new_memory` does."""
    if _is_form(request):
        more = await read_more_documents(request)
        if not more.uploads:
            raise InvalidRequest("Send at least one document as `file`.", "file")
        return PlanQuestion(more.uploads, None, more.ask)
    body = _parse(PlanBody, await request.body())
    if (body.documents is None) == (body.tokens is None) or (body.facts and body.documents):
        raise InvalidRequest("Send either `documents`, or a number of `tokens` and of `facts`.", "documents")
    load = None
    if body.tokens is not None:
        load = Load(Facts(pairs=body.facts or -(-body.tokens // TOKENS_PER_FACT)), pair_tokens=body.tokens)
    return PlanQuestion(_texts(body.documents or []), load, ask_of(body))


@asynccontextmanager
async def open_export(request: Request) -> AsyncIterator[tuple[BinaryIO, str | None]]:
    """Give the file of a form, and the name that the form holds; large files lie on disk.

    Raises:
        UnsupportedDocument, InvalidRequest: the text says what to do.
    """
    if _kind(request) != _FORM:
        raise UnsupportedDocument("Send multipart/form-data with `file`, the tar that an export gave.")
    async with _open_form(request, max_files=1, max_fields=1) as form:
        _check_fields(form, {"file", "name"})
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InvalidRequest("Send the tar that an export gave as `file`, with a file name.", "file")
        yield file.file, _text(form, "name")


@asynccontextmanager
async def _open_form(request: Request, max_files: int = MAX_FILES, max_fields: int = 10) -> AsyncIterator[FormData]:
    try:
        form = await request.form(max_files=max_files, max_fields=max_fields)
    except UnicodeError as error:  # starlette takes any charset that Python has
        raise InvalidRequest("The form is not in the charset that its Content-Type names: send UTF-8.") from error
    try:
        yield form
    finally:
        await form.close()


def _is_form(request: Request) -> bool:
    kind = _kind(request)
    if kind not in {_FORM, "application/json"}:
        raise UnsupportedDocument("Send multipart/form-data with `file`, or application/json with `documents`.")
    return kind == _FORM


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_fields(form: FormData, known: set[str]) -> None:
    for name in form:
        if name not in known:
            shown = name[:64].encode("utf-8", "replace").decode()
            raise InvalidRequest(f"{shown!r} is not a field of this form: {', '.join(sorted(known))} are.", shown)
    for name in known - {"file"}:
        if len(form.getlist(name)) > 1:
            raise InvalidRequest(f"`{name}` is there twice.", name)


async def _files(form: FormData) -> list[Upload]:
    files = form.getlist("file")
    if not all(isinstance(one, UploadFile) for one in files):
        raise InvalidRequest("`file` must be a file, with a file name.", "file")
    return [Upload(one.filename or "", await one.read()) for one in files if isinstance(one, UploadFile)]


def _text(form: FormData, name: str) -> str | None:
    value = form.get(name)
    if isinstance(value, UploadFile):
        raise InvalidRequest(f"`{name}` must be text, not a file.", name)
    return value


def _options(body: OptionsBody) -> Options:
    return Options(ask_of(body), dict(body.metadata), body.allow_duplicate, body.pinned, tuple(body.languages))


def ask_of(body: TrainingBody) -> Ask:
    """Return what a body says of the training."""
    return Ask(body.recipe, body.target_recall, body.split)


def _texts(documents: Sequence[TextDocument]) -> list[Upload]:
    return [Upload(one.name, one.text.encode()) for one in documents]


def _parse(shape: type[Shape], data: str | bytes, under: str = "") -> Shape:
    try:
        return shape.model_validate_json(data, strict=False)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False), under) from error
