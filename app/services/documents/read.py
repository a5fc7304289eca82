"""From a file's name and bytes to a document, within limits."""

import asyncio
import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from app.core.documents import Document, Pair, check_document_name
from app.core.errors import InvalidValue
from app.errors import EmptyDocument, InvalidName, TooLarge, UnreadableDocument, UnsupportedDocument
from app.services.apart import apart
from app.services.documents.markdown import read_markdown
from app.services.documents.pairs import read_csv, read_json, read_jsonl
from app.services.documents.tables import with_rows
from app.services.documents.text import decode

MAX_CHARACTERS = 5_000_000
TIME_LIMIT_S = 60.0

_Content = str | list[Pair]


def _read_binary(name: str, data: bytes) -> str:
    from app.services.documents.binary import READERS  # noqa: PLC0415 - seconds of imports that text does not need

    return READERS[_ending(name)](name, data)


_READERS: dict[str, Callable[[str, bytes], _Content]] = {
    "": decode,
    ".txt": decode,
    ".text": decode,
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".html": _read_binary,
    ".htm": _read_binary,
    ".pdf": _read_binary,
    ".docx": _read_binary,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
}
KNOWN = ", ".join(sorted(ending[1:] for ending in _READERS if ending))


def read_document(name: str, data: bytes) -> Document:
    """Read one document; fetches nothing and runs nothing that is in it.

    Raises:
        InvalidName: a path or control characters in the name.
        UnsupportedDocument: another kind of file.
        EmptyDocument: nothing can be read in it.
        UnreadableDocument: broken, protected, binary or wrongly encoded.
        TooLarge: too much text.
    """
    try:
        check_document_name(name)
    except InvalidValue as error:
        raise InvalidName(str(error), "file") from error
    reader = _READERS.get(_ending(name))
    if reader is None:
        raise UnsupportedDocument(f"{name!r} is of a kind that cannot be read: send one of {KNOWN}.", "file")
    if not data.strip():
        raise EmptyDocument(f"{name!r} is empty: send a document with text in it.", "file")
    content = reader(name, data)
    digest = hashlib.sha256(data).hexdigest()
    if not isinstance(content, str):
        return Document(name, "pairs", "", tuple(content), digest, len(data))
    return Document(name, "prose", _clean(name, content), (), digest, len(data))


async def read_documents(files: Sequence[tuple[str, bytes]], *, time_limit_s: float = TIME_LIMIT_S) -> list[Document]:
    """Read documents in processes of their own, so that none can hold up or bring down the caller.

    Args:
        time_limit_s: for each of them; its process is killed then.

    Raises:
        UnreadableDocument: one took too long or too much memory; also what `read_document` raises.
    """
    try:
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(_read_apart(name, data, time_limit_s)) for name, data in files]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None  # the first to fail ends the others: one sentence at a time
    return [read.result() for read in reads]


async def _read_apart(name: str, data: bytes, time_limit_s: float) -> Document:
    refusal = UnreadableDocument(
        f"{name[:80]!r} takes too long or too much memory to read: send it as text, or in parts.", "file"
    )
    return await apart(read_document, name, data, time_limit_s=time_limit_s, refusal=refusal)


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _clean(name: str, text: str) -> str:
    text = text.encode("utf-8", "replace").decode().replace("\0", "")  # pdf fonts can map glyphs to anything
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n"))
    text = with_rows(text).strip()
    if len(text) > MAX_CHARACTERS:
        raise TooLarge(f"{name!r} holds more than {MAX_CHARACTERS} characters: send it in parts.", "file")
    if not any(char.isalnum() for char in text):
        raise EmptyDocument(f"No text can be read in {name!r}: a scanned document must go through OCR first.", "file")
    return text
