"""Every kind of upload, good and bad."""

import contextlib
import io
import random
import socket
import subprocess
import sys
import zipfile

import docx
import psutil
import pytest
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

import app.main as gateway
from app.core.documents import Document, Pair
from app.core.sentences import sentences
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


def a_docx(text: str, picture: str = "", link: str = "") -> bytes:
    file = io.BytesIO()
    document = docx.Document()
    paragraph = document.add_paragraph(text)
    if link:
        anchor = OxmlElement("w:hyperlink")
        anchor.set(qn("r:id"), document.part.relate_to(link, RELATIONSHIP_TYPE.HYPERLINK, is_external=True))
        anchor.append(paragraph.runs[0]._r)
        paragraph._p.append(anchor)
    if picture:
        pixel = io.BytesIO()
        Image.new("RGB", (1, 1)).save(pixel, "PNG")
        document.add_picture(pixel)
        blip = next(document.element.body.iter(qn("a:blip")))
        del blip.attrib[qn("r:embed")]
        blip.set(qn("r:link"), document.part.relate_to(picture, RELATIONSHIP_TYPE.IMAGE, is_external=True))
    document.save(file)
    return file.getvalue()


def damaged(data: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    broken = bytearray(data)
    for _ in range(12):
        broken[rng.randrange(len(broken))] = rng.randrange(256)
    return bytes(broken[: rng.choice([len(broken), rng.randrange(len(broken))])])


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
        ("a.csv", b"name,age\nBob,3\nEve,\n", "name: Bob; age: 3.\n\nname: Eve"),
        ("a.html", b"<details><summary>When?</summary>At 9.</details>", "When?\n\nAt 9."),
        ("a.html", "<meta charset='latin-1'>né_e".encode("latin-1"), "né_e"),
        ("a.jsonl", b'{"name": "Bob", "age": 3}\n', "name: Bob; age: 3."),
        ("a.json", b'[{"name": "Bob"}, {"name": "Eve"}]', "name: Bob\n\nname: Eve"),
    ],
)
def test_prose_of_every_kind_is_read(name: str, data: bytes, text: str) -> None:
    document = read_document(name, data)

    assert (document.kind, document.text.strip()) == ("prose", text)


@pytest.mark.parametrize("said", ["iso-8859-1", "ISO8859-1", "latin1", "us-ascii", "windows-1252"])
def test_a_page_in_latin_1_is_read_as_browsers_read_it(said: str) -> None:
    page = b"<p>The caf\xe9 \x93Blue Moon\x94 costs 5\x80 and it\x92s open."
    document = read_document("a.html", f'<meta charset="{said}">'.encode() + page)

    assert document.text == "The café “Blue Moon” costs 5€ and it’s open."


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
    ("name", "data"),
    [
        ("a.csv", b"name,age\nBob,33\nEve,44\n"),
        ("a.tsv", b"name\tage\nBob\t33\nEve\t44\n"),
        ("a.jsonl", b'{"name": "Bob", "age": 33}\n{"name": "Eve", "age": 44}\n'),
        ("a.json", b'[{"name": "Bob", "age": 33}, {"name": "Eve", "age": 44}]'),
    ],
)
def test_each_row_of_a_table_is_a_sentence(name: str, data: bytes) -> None:
    assert sentences(read_document(name, data).text) == ["name: Bob; age: 33.", "name: Eve; age: 44."]


@pytest.mark.parametrize(
    ("cell", "question"),
    [
        ('"Who said ""hi"", there?"', 'Who said "hi", there?'),
        ('"Who,\nthen?"', "Who,\nthen?"),
        ("C?", "C?"),
        ("What is 1+1?", "What is 1+1?"),
    ],
)
def test_cells_of_a_csv_come_through_unchanged(cell: str, question: str) -> None:
    document = read_document("a.csv", f"question,answer\n{cell},x\nC++?,y\nWhat is 1-1?,z\n".encode())

    assert document.pairs == (Pair(question, "x"), Pair("C++?", "y"), Pair("What is 1-1?", "z"))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.html", b"<p>By <a href='/x_1' title='T'>Ada</a>.<sup><a href='#c'>[1]</a></sup> It cost 5 euros.</p>"),
        ("a.html", b"<p>By <a href='/x_1'><img src='/x_1_(y).png' alt='Ada'></a>.</p><p>It cost 5 euros.</p>"),
        ("a.docx", a_docx("By Ada. It cost 5 euros.", link="http://x.y/x_1")),
        ("a.md", b'By [Ada](/x_1 "T").[[1]](#x_1) It cost [5 euros](</x_1 y_(z)>).'),
        ("a.md", b"By [![Ada](x_1.png)](/x_1_(y)).[^1] It cost 5 euros."),
        ("a.md", b'By [Ada][1]. It cost [5 euros][].\r\n\r\n[1]: /x_1 "T"\r\n[5 Euros]: x_1.md'),
    ],
)
def test_a_link_is_the_text_that_it_shows(name: str, data: bytes) -> None:
    document = read_document(name, data)

    assert "x_1" not in document.text
    assert sentences(document.text) == ["By Ada.", "It cost 5 euros."]


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("<https://x.y/z> and [https://x.y/z](https://x.y/z)", "https://x.y/z and https://x.y/z"),
        ("<a@x.y> is <b>bold</b>", "a@x.y is <b>bold</b>"),
        ("Code: `a[1](x)`, ``b ` [c](d)``", "Code: `a[1](x)`, ``b ` [c](d)``"),
        ("```\n[a](b)\n[c]: /d\n```\n[a](b) [c]", "```\n[a](b)\n[c]: /d\n```\na [c]"),
        ("~~~\n<https://x.y>", "~~~\n<https://x.y>"),
        (r"\[a](b), m[1][2], [c] and [ ] (d)", r"\[a](b), m[1][2], [c] and [ ] (d)"),
        ("[see [a](b)][c]", "[see a][c]"),
        ("[a] and [B]\n\n[b]: <c d>", "[a] and B"),
        ("[Tea]: 3.50\n[Ada]: Hello.\n[^1]: https://x.y", "[Tea]: 3.50\n[Ada]: Hello.\n[^1]: https://x.y"),
    ],
)
def test_of_markdown_only_the_addresses_of_links_go(markdown: str, text: str) -> None:
    assert read_document("a.md", markdown.encode()).text == text


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.html", b"<p>Mo-Fr 8-12<br>Sa 9-11</p>"),
        ("a.md", b"Mo-Fr 8-12\\\nSa 9-11"),
        ("a.md", b"Mo-Fr 8-12  \nSa 9-11"),
    ],
)
def test_a_line_that_is_broken_by_hand_ends_there(name: str, data: bytes) -> None:
    assert sentences(read_document(name, data).text) == ["Mo-Fr 8-12", "Sa 9-11"]


def test_nothing_a_document_points_to_is_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.png"
        read = [read_document("a.docx", a_docx("Key 42", picture=url)), read_document("a.html", _page(url).encode())]

        with pytest.raises(BlockingIOError):
            server.accept()

    assert all("Key 42" in one.text and url not in one.text for one in read)


def _page(url: str) -> str:
    return f"<link rel=stylesheet href='{url}'><p>Key 42</p><img src='{url}'><iframe src='{url}'></iframe>"


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
        ("a.jsonl", b"[1]\n", UnreadableDocument, "Row 1"),
        ("a.json", b'{"a": 1}', UnreadableDocument, "list"),
        ("a.csv", b",,\n;,\n,", EmptyDocument, "no rows"),
        ("a.csv", b"question,answer\nWhere?,Paris, France\n", UnreadableDocument, "Row 2.*quotes"),
        ("a.csv", b"name,year\nTarn,1931,built by Brandt\n", UnreadableDocument, "Row 2.*quotes"),
        ("a.html", b"<meta charset=nonsense>text", UnreadableDocument, "UTF-8"),
        ("a.html", b'<meta charset="unicode_escape"><p>a \\ud800 b</p>', UnreadableDocument, "UTF-8"),
        ("a.html", b'<meta charset="utf-7"><p>a +2AA- b</p>', UnreadableDocument, "UTF-8"),
        ("a.html", b"<meta charset=latin1>no sign: \x81", UnreadableDocument, "UTF-8"),
        ("a.html", b"<p>hi there</p><![foo[x]]>", UnreadableDocument, "broken"),
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


@settings(deadline=None)
@given(st.sampled_from([".txt", ".html", ".pdf", ".docx", ".csv", ".jsonl"]), st.binary(max_size=300))
def test_no_bytes_whatever_are_worse_than_a_refusal(ending: str, data: bytes) -> None:
    magic = {".pdf": b"%PDF-1.7\n", ".docx": b""}.get(ending, b"")
    try:
        document = read_document(f"a{ending}", magic + data)
    except ServiceError as error:
        assert error.detail  # noqa: PT017 - both ways out are right, and each is checked
    else:
        assert document.text or document.pairs


@given(st.sampled_from([("a.pdf", a_pdf("Key 42")), ("a.docx", a_docx("Key 42"))]), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_no_damage_to_a_file_is_worse_than_a_refusal(file: tuple[str, bytes], seed: int) -> None:
    with contextlib.suppress(ServiceError):
        read_document(file[0], damaged(file[1], seed))


async def test_a_document_that_takes_too_long_is_refused_and_its_process_ended() -> None:
    endless = b"<p>" + b"![" * 2_000_000  # each opening is sought to its close, through all of the rest
    before = set(psutil.Process().children())

    with pytest.raises(UnreadableDocument, match="too long"):
        await read_documents([("a.html", endless)], time_limit_s=3)

    assert not [child for child in set(psutil.Process().children()) - before if child.is_running()]


async def test_the_first_document_that_cannot_be_read_is_told() -> None:
    with pytest.raises(UnsupportedDocument, match=r"b\.exe"):
        await read_documents([("a.txt", b"fine"), ("b.exe", b"MZ")])


async def test_many_documents_come_back_in_their_order() -> None:
    files = [(f"{number}.txt", str(number).encode()) for number in range(6)]

    assert [document.text for document in await read_documents(files)] == list("012345")


def test_a_process_that_reads_text_for_the_gateway_loads_neither_gateway_nor_parsers() -> None:
    main = f"import runpy, sys; runpy.run_path({gateway.__file__!r}, run_name='__mp_main__')"  # what anyio does first
    read = "from app.services.documents import read_document; read_document('a.csv', b'question,answer\\nWho?,Ada')"
    modules = subprocess.check_output([sys.executable, "-c", f"{main}; {read}; print(*sys.modules)"], text=True).split()

    assert "app.services.documents.pairs" in modules
    assert not {"fastapi", "uvicorn", "markitdown"} & set(modules)
