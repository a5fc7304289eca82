"""html, pdf and docx by markitdown, behind checks for what it would choke on or let in."""

import codecs
import io
import re
import struct
import warnings
import zipfile
import zlib
from xml.parsers.expat import ExpatError

from bs4.exceptions import ParserRejectedMarkup
from lxml.etree import LxmlError
from markitdown import DocumentConverter, MarkItDownException, StreamInfo
from markitdown.converters import DocxConverter, HtmlConverter, PdfConverter
from pdfminer.pdfdocument import PDFPasswordIncorrect
from pdfminer.psexceptions import PSException
from pdfplumber.utils.exceptions import PdfminerException

from app.errors import EmptyDocument, UnreadableDocument
from app.services.documents.text import decode

MAX_UNPACKED_BYTES = 200 * 2**20
_IMAGE = re.compile(r"!\[([^\]]*)\]\((?:[^()]|\([^()]*+\))*+\)")  # a picture's address is no text; its description is
_BREAKS = (  # what the parsers were seen to end with on broken files
    *(MarkItDownException, ParserRejectedMarkup, LxmlError, ExpatError),
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError, ArithmeticError),
)
_PLAIN = {  # no backslashes in what is learned, and no addresses of links
    "escape_asterisks": False,
    "escape_underscores": False,
    "strip": ["a"],
}
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]{1,40})""", re.IGNORECASE)
_SUMMARY = re.compile(r"<(/?)summary\b", re.IGNORECASE)  # what shows of details that are folded: a paragraph
_WESTERN = ("iso8859-1", "ascii")  # either means windows-1252 in a page: https://encoding.spec.whatwg.org
_OLE = b"\xd0\xcf\x11\xe0"  # what Office wraps a protected file in


def read_html(name: str, data: bytes) -> str:
    """Return a page's text as markdown; what it says of its own encoding holds.

    Raises:
        UnreadableDocument: it is no text.
    """
    said = _CHARSET.search(data[:2048])
    text = decode(name, data, _meant(said.group(1).decode()) if said else "utf-8")
    info = StreamInfo(extension=".html", charset="utf-8")
    return _filled(name, _convert(HtmlConverter(), name, _SUMMARY.sub(r"<\1p", text).encode(), info))


def read_pdf(name: str, data: bytes) -> str:
    """Return a pdf's text.

    Raises:
        UnreadableDocument: broken or protected.
        EmptyDocument: pictures only.
    """
    if not data.lstrip().startswith(b"%PDF-"):
        raise UnreadableDocument(f"{name!r} is not a pdf file: send it under its real ending.", "file")
    return _filled(name, _convert(PdfConverter(), name, data, StreamInfo(extension=".pdf")))


def read_docx(name: str, data: bytes) -> str:
    """Return a Word file's text as markdown.

    Raises:
        UnreadableDocument: broken, protected, or far larger once unpacked.
        EmptyDocument: pictures only.
    """
    if data.startswith(_OLE):
        raise _protected(name)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _broken(name) from error
    if unpacked > MAX_UNPACKED_BYTES:
        raise UnreadableDocument(f"{name!r} unpacks to {unpacked // 2**20} MiB: send it in parts.", "file")
    if "word/document.xml" not in names:
        raise _broken(name)
    return _filled(name, _convert(DocxConverter(), name, data, StreamInfo(extension=".docx")))


def _meant(charset: str) -> str:
    """Return the encoding that browsers read where a page says this one."""
    try:
        return "cp1252" if codecs.lookup(charset).name in _WESTERN else charset
    except LookupError:
        return charset


def _convert(converter: DocumentConverter, name: str, data: bytes, info: StreamInfo) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parsers' own; a document cannot mend them
        try:
            text = str(converter.convert(io.BytesIO(data), info, **_PLAIN).markdown)
        except (PSException, PdfminerException) as error:
            if isinstance(error, PDFPasswordIncorrect) or any(
                isinstance(one, PDFPasswordIncorrect) for one in error.args
            ):
                raise _protected(name) from error
            raise _broken(name) from error
        except _BREAKS as error:
            raise _broken(name) from error
    return _IMAGE.sub(r"\1", text)


def _filled(name: str, text: str) -> str:
    if not text.strip():
        raise EmptyDocument(f"No text can be read in {name!r}: a scanned document must go through OCR first.", "file")
    return text


def _protected(name: str) -> UnreadableDocument:
    return UnreadableDocument(f"{name!r} is protected by a password: save it without one and send it again.", "file")


def _broken(name: str) -> UnreadableDocument:
    return UnreadableDocument(f"{name!r} is broken and cannot be read: open it, save it anew and send that.", "file")


READERS = {".html": read_html, ".htm": read_html, ".pdf": read_pdf, ".docx": read_docx}
