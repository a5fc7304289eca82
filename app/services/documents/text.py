"""Bytes as text: UTF-8, and what says its encoding by a mark. A guess that is wrong would spoil facts unseen."""

import codecs

from app.errors import UnreadableDocument

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC = (b"%PDF-", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b", b"\x7fELF", b"\xd0\xcf\x11\xe0")
_CONTROLS = frozenset(map(chr, range(32))) - set("\t\n\r\f\v\x1b")


def decode(name: str, data: bytes, declared: str = "utf-8") -> str:
    """Return a text file's text.

    Args:
        declared: the encoding that the file claims; a byte-order mark outweighs it.

    Raises:
        UnreadableDocument: it is no text, or neither marked nor in the encoding declared.
    """
    if data.startswith(_MAGIC):
        raise UnreadableDocument(f"{name!r} is not a text file: give it the ending of what it is.", "file")
    encoding = next((one for mark, one in _MARKS if data.startswith(mark)), declared)
    try:
        text = data.decode(encoding)
        text.encode()  # some of Python's own encodings make half characters
    except (UnicodeError, LookupError) as error:
        raise UnreadableDocument(f"{name!r} is not in UTF-8: save it as UTF-8 and send it again.", "file") from error
    if _CONTROLS & set(text):
        raise UnreadableDocument(f"{name!r} holds binary data: send a text file, or give it its real ending.", "file")
    return text
