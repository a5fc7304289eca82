"""Documents as values."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.documents import Document, Pair, check_document_name
from app.core.errors import InvalidValue


@settings(deadline=None)
@given(st.text(), st.lists(st.builds(Pair, st.text(), st.text(), st.text())))
def test_a_document_survives_json(text: str, pairs: list[Pair]) -> None:
    document = Document("a.txt", "prose", text, tuple(pairs), "d" * 64, 7)

    assert Document.from_dict(json.loads(json.dumps(document.to_dict()))) == document


@pytest.mark.parametrize(
    "name", ["a.txt", "Ärger über 2.pdf", "資料.md", ".hidden", "a" * 255, "a..b", "100% ('x').csv"]
)
def test_what_files_are_called_is_a_name(name: str) -> None:
    assert check_document_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "C:\\x", "a\0b", "a\nb", "\u202efdp.txt", "\ud800", "a" * 256]
)
def test_paths_and_control_characters_are_no_name(name: str) -> None:
    with pytest.raises(InvalidValue, match="rename"):
        check_document_name(name)
