"""Names of memories and adapters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidValue
from app.core.names import AdapterName, check_memory_name
from tests.factories import memory_id


@pytest.mark.parametrize(
    "name", ["", "../x", "a\0b", "x" * 129, ".hidden", "a/b", "base", "mem_1", "naïve", "a\nb", " a", "a\n"]
)
def test_path_like_and_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidValue):
        check_memory_name(name)


@given(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}\Z").filter(lambda n: n != "base" and n[:4] != "mem_"))
def test_every_name_the_contract_allows_is_taken(name: str) -> None:
    assert check_memory_name(name) == name


@given(st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,39}\Z"), st.integers(1, 999_999_999), st.from_regex(r"\A[0-9a-f]{12}\Z"))
def test_an_adapters_name_reads_back_and_its_folder_cannot_climb(tenant: str, version: int, digest: str) -> None:
    adapter = AdapterName(tenant, memory_id(), version, digest)

    assert AdapterName.parse(str(adapter)) == adapter
    assert ".." not in adapter.folder.split("/")
    assert not adapter.folder.startswith("/")


def test_adapters_of_memories_composites_and_guards_lie_apart() -> None:
    rest = memory_id()[4:]
    folders = {
        AdapterName("acme", f"{kind}_{rest}", 1, "0" * 12).folder.split("/")[1] for kind in ("mem", "cmp", "lng")
    }

    assert folders == {"memories", "composites", "languages"}


@given(st.text())
def test_no_other_text_is_an_adapters_name(text: str) -> None:
    with pytest.raises(InvalidValue):
        AdapterName.parse(text)
