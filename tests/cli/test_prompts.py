"""What a user's own file of prompts must look like."""

from pathlib import Path

import pytest

from app.cli.prompts import read_prompts
from app.errors import EmptyDocument, UnreadableDocument, UnsupportedDocument


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.txt", "\ufeffWie geht es dir?\r\n\n Was tust du? \nWie geht es dir?\n"),
        ("own.jsonl", '{"prompt": "Wie geht es dir?", "id": 1}\n\n{"prompt": "Was tust du?"}\n'),
        ("own.csv", 'id,prompt\n1,"Wie geht es dir?"\n2, Was tust du?\n'),
        ("OWN.CSV", "prompt\nWie geht es dir?\nWas tust du?"),
    ],
)
def test_a_users_own_prompts_are_read_each_once(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")

    assert read_prompts(path) == ("Wie geht es dir?", "Was tust du?")


@pytest.mark.parametrize(
    ("name", "data", "error", "says"),
    [
        ("own.pdf", b"%PDF", UnsupportedDocument, r"give a \.txt, \.jsonl or \.csv"),
        ("own.txt", b" \n\n", EmptyDocument, "holds no prompts"),
        ("own.csv", b"prompt\n", EmptyDocument, "holds no prompts"),
        ("own.txt", b"\xff\xfe\x00", UnreadableDocument, "UTF-8"),
        ("own.jsonl", b'{"prompt": "Ja?"}\n{"text": "Nein?"}', UnreadableDocument, "Line 2 of 'own.jsonl'"),
        ("own.jsonl", b"[1]", UnreadableDocument, "Line 1"),
        ("own.jsonl", b"{prompt}", UnreadableDocument, "Line 1"),
        ("own.jsonl", b'{"prompt": 3}', UnreadableDocument, "Line 1"),
        ("own.jsonl", b'{"prompt": "\\ud83d Ja?"}', UnreadableDocument, "Line 1 of 'own.jsonl' has half a character"),
        ("own.csv", b"question\nJa?\n", UnreadableDocument, "line 2 of 'own.csv' has no text under `prompt`"),
        ("own.csv", b"prompt,id\nJa?,1\n,2\n", UnreadableDocument, "line 3"),
        ("own.csv", b'prompt\n"Ja?\n', UnreadableDocument, "is not a csv file"),
    ],
)
def test_a_file_of_prompts_that_cannot_be_used_says_what_to_do(
    tmp_path: Path, name: str, data: bytes, error: type[Exception], says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)

    with pytest.raises(error, match=says):
        read_prompts(path)


def test_a_file_that_is_not_there_is_a_sentence_too(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match="check its name"):
        read_prompts(tmp_path / "none.txt")
