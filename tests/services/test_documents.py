"""Every kind of upload, good and bad."""

import io
import zipfile

import docx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reportlab.pdfgen.canvas import Canvas

from app.core.documents import Document, Pair
from app.errors import (
    EmptyDocument,
    InvalidName,
    ServiceError,
    TooLarge,
    UnreadableDocument,
    UnsupportedDocument,
)
from app.services.documents import read_document, read_documents


def a_pdf(text: str, password: str | None = None) -> bytes:
    file = io.BytesIO()
    canvas = Canvas(file, encrypt=password)
    if text:
        canvas.drawString(100, 700, text)
    else:
        canvas.rect(10, 10, 50, 50)
    canvas.showPage()
    canvas.save()
    return file.getvalue()


def a_docx(text: str) -> bytes:
    file = io.BytesIO()
    document = docx.Document()
    document.add_paragraph(text)
    document.save(file)
    return file.getvalue()


def a_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * (201 * 2**20))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.txt", "né\r\nà".encode(), "né\nà"),
        ("a.txt", "\ufeffmarked".encode(), "marked"),
        ("a.txt", "wide ü".encode("utf-16"), "wide ü"),
        ("README", b"no ending", "no ending"),
        ("a.md", b"# Title", "# Title"),
        ("a.html", b"<h1>T</h1><p>one <img src='http://x/y' alt='a cat'></p><script>x()</script>", "# T\n\none a cat"),
        ("a.pdf", a_pdf("Key 42"), "Key 42"),
        ("A.DOCX", a_docx("Schlüssel 42"), "Schlüssel 42"),
        ("a.csv", b"name,age\nBob,3\nEve,\n", "name: Bob; age: 3.\nname: Eve."),
        ("a.jsonl", b'{"name": "Bob", "age": 3}\n', "name: Bob; age: 3."),
    ],
)
def test_prose_of_every_kind_is_read(name: str, data: bytes, text: str) -> None:
    document = read_document(name, data)

    assert (document.kind, document.text.strip()) == ("prose", text)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"question,answer,document\nWho?,Bob,d\n"),
        ("a.csv", "\ufeffQuestion;Answer;Document\nWho?;Bob;d\n".encode()),
        ("a.tsv", b"answer\tquestion\tdocument\nBob\tWho?\td\n"),
        ("a.jsonl", b'{"question": "Who?", "answer": "Bob", "document": "d"}\n\n'),
        ("a.csv", b"question,answer,document\nWho?,Bob,d\nWho?,Bob,d\n"),
    ],
)
def test_questions_with_answers_are_used_as_they_are(name: str, data: bytes) -> None:
    document = read_document(name, data)

    assert (document.kind, document.pairs) == ("pairs", (Pair("Who?", "Bob", "d"),))
    assert Document.from_dict(document.to_dict()) == document


@pytest.mark.parametrize(
    ("name", "data", "error", "says"),
    [
        ("a.txt", b"", EmptyDocument, "empty"),
        ("a.txt", b" \n\t ", EmptyDocument, "empty"),
        ("a.md", b"---\n***", EmptyDocument, "No text"),
        ("a.pdf", a_pdf(""), EmptyDocument, "OCR"),
        ("a.csv", b"question,answer\n", EmptyDocument, "no rows"),
        ("a.txt", b"\x00\x01\x02", UnreadableDocument, "binary"),
        ("a.txt", "for\u00eat".encode("latin-1"), UnreadableDocument, "UTF-8"),
        ("a.txt", a_pdf("x"), UnreadableDocument, "not a text file"),
        ("a.pdf", b"plain text", UnreadableDocument, "not a pdf"),
        ("a.pdf", b"%PDF-1.4 broken", UnreadableDocument, "broken"),
        ("a.pdf", a_pdf("x", password="secret"), UnreadableDocument, "password"),
        ("a.docx", b"PK\x03\x04broken", UnreadableDocument, "broken"),
        ("a.docx", b"\xd0\xcf\x11\xe0rest", UnreadableDocument, "password"),
        ("a.docx", a_bomb(), UnreadableDocument, "unpacks"),
        ("a.csv", b"question,answer\nWho?,\n", UnreadableDocument, "Row 2"),
        ("a.csv", b"question,answer\nWho?,Bob\nWho?,Eve\n", UnreadableDocument, "Rows 2 and 3"),
        ("a.jsonl", b'{"question": "Who?"}\n{"question": "Who?", "answer": "Bob"}\n', UnreadableDocument, "Row 1"),
        ("a.jsonl", b"[1]\n", UnreadableDocument, "Line 1"),
        ("a.jsonl", b"[" * 100_000, UnreadableDocument, "Line 1"),
        ("a.exe", b"MZ", UnsupportedDocument, "docx"),
        ("../x.txt", b"x", InvalidName, "rename"),
        ("a\0.txt", b"x", InvalidName, "rename"),
        ("a" * 300 + ".txt", b"x", InvalidName, "rename"),
        ("a.txt", b"a" * 5_000_001, TooLarge, "in parts"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(
    name: str, data: bytes, error: type[ServiceError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        read_document(name, data)

    assert 400 <= caught.value.status < 500


@given(st.sampled_from([".txt", ".html", ".pdf", ".docx", ".csv", ".jsonl"]), st.binary(max_size=300))
def test_no_bytes_whatever_are_worse_than_a_refusal(ending: str, data: bytes) -> None:
    magic = {".pdf": b"%PDF-1.7\n", ".docx": b""}.get(ending, b"")
    try:
        document = read_document(f"a{ending}", magic + data)
    except ServiceError as error:
        assert error.detail  # noqa: PT017 - both ways out are right, and each is checked
    else:
        assert document.text or document.pairs


async def test_many_documents_come_back_in_their_order() -> None:
    files = [(f"{number}.txt", str(number).encode()) for number in range(6)]

    assert [document.text for document in await read_documents(files)] == list("012345")
