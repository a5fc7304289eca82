"""From a file's name and bytes to a document, within limits."""

import asyncio
import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from app.core.documents import Document, Pair, check_document_name
from app.core.errors import InvalidValue
from app.errors import EmptyDocument, InvalidName, TooLarge, UnreadableDocument, UnsupportedDocument
from app.services.documents.binary import read_docx, read_html, read_pdf
from app.services.documents.pairs import read_csv, read_jsonl
from app.services.documents.text import decode

MAX_CHARACTERS = 5_000_000
TIME_LIMIT_S = 60.0
_AT_ONCE = asyncio.Semaphore(2)

_Content = str | list[Pair]
_READERS: dict[str, Callable[[str, bytes], _Content]] = {
    "": decode,
    ".txt": decode,
    ".text": decode,
    ".md": decode,
    ".markdown": decode,
    ".html": read_html,
    ".htm": read_html,
    ".pdf": read_pdf,
    ".docx": read_docx,
    ".csv": read_csv,
    ".tsv": read_csv,
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
    reader = _READERS.get(PurePosixPath(name).suffix.lower())
    if reader is None:
        raise UnsupportedDocument(f"{name!r} is of a kind that cannot be read: send one of {KNOWN}.", "file")
    if not data.strip():
        raise EmptyDocument(f"{name!r} is empty: send a document with text in it.", "file")
    content = reader(name, data)
    digest = hashlib.sha256(data).hexdigest()
    if not isinstance(content, str):
        return Document(name, "pairs", "", tuple(content), digest, len(data))
    return Document(name, "prose", _clean(name, content), (), digest, len(data))


async def read_documents(files: Sequence[tuple[str, bytes]]) -> list[Document]:
    """Read documents off the event loop, two at a time.

    Raises:
        UnreadableDocument: one took too long; also what `read_document` raises.
    """
    return list(await asyncio.gather(*[_read_in_time(name, data) for name, data in files]))


async def _read_in_time(name: str, data: bytes) -> Document:
    async with _AT_ONCE:
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                return await asyncio.to_thread(read_document, name, data)
        except TimeoutError as error:
            raise UnreadableDocument(
                f"{name[:80]!r} took longer than {TIME_LIMIT_S:.0f} s to read: send it as text, or in parts.", "file"
            ) from error


def _clean(name: str, text: str) -> str:
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if len(text) > MAX_CHARACTERS:
        raise TooLarge(f"{name!r} holds more than {MAX_CHARACTERS} characters: send it in parts.", "file")
    if not any(char.isalnum() for char in text):
        raise EmptyDocument(f"No text can be read in {name!r}: a scanned document must go through OCR first.", "file")
    return text
