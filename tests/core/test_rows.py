"""Rows of tables: what is written is read back, and prose is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.rows import cells_of, row_of

LABELS = st.from_regex(r"[a-z]{1,8}( [a-z]{1,8})?", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9]{1,8}([ ,;]{1,2}[A-Za-z0-9]{1,8}){0,3}", fullmatch=True)


@given(st.lists(st.tuples(LABELS, VALUES), min_size=2, max_size=6))
def test_a_row_that_is_written_is_read_back(cells: list[tuple[str, str]]) -> None:
    assert cells_of(row_of(cells)) == cells


def test_a_cell_without_a_value_is_left_out_and_a_full_stop_is_not_doubled() -> None:
    assert row_of([("name", "Tarn"), ("size", ""), ("maker", "Lund Inc.")]) == "name: Tarn; maker: Lund Inc."


@pytest.mark.parametrize(
    "sentence",
    [
        "The bell weighs 40 kilograms.",
        "Chef: Ilse Brandt",
        "Chef: Ilse Brandt.",
        "It has three parts: a bell; a rope; a wheel.",
        "name: Tarn; size: 4",  # no full stop
        "name: ; size: 4.",
        "",
        ".",
    ],
)
def test_prose_and_a_single_cell_are_no_row(sentence: str) -> None:
    assert cells_of(sentence) == []
