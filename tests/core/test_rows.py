"""Rows of tables: what is written is read back, and prose is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.rows import LONGEST, cells_of, rows_of
from app.core.sentences import sentences

LABELS = st.from_regex(r"[a-z]{1,8}( [a-z]{1,8})?", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9]{1,8}([ ,.;]{1,2}[A-Za-z0-9]{1,8}){0,3}", fullmatch=True)


@given(st.lists(st.tuples(LABELS, VALUES), min_size=2, max_size=6, unique_by=lambda cell: cell[0]))
def test_a_row_that_is_written_is_read_back(cells: list[tuple[str, str]]) -> None:
    [row] = rows_of(cells)

    assert cells_of(row) == [(label, " ".join(value.split())) for label, value in cells]


@given(st.lists(st.tuples(LABELS, VALUES), min_size=2, max_size=60, unique_by=lambda cell: cell[0]))
def test_a_row_that_gets_too_long_is_several_with_the_first_cell_and_none_is_lost(cells: list[tuple[str, str]]) -> None:
    told = [cells_of(row) for row in rows_of(cells)]

    assert all(len(row) <= LONGEST for row in rows_of(cells))
    assert {row[0][0] for row in told} == {cells[0][0]}
    assert [label for row in told for label, _ in row[1:]] == [label for label, _ in cells[1:]]


@pytest.mark.parametrize(
    ("cells", "rows"),
    [
        ([("name", "Tarn"), ("size", ""), ("maker", "Lund Inc.")], ["name: Tarn; maker: Lund Inc."]),
        ([("name", "Tarn"), ("size", "")], ["name: Tarn"]),
        ([("name", "")], []),
        ([("", "0"), ("Name:", "Tarn")], ["#: 0; Name: Tarn."]),
        ([("Day", "Mon"), ("Time", "8"), ("Time", "9")], ["Day: Mon; Time: 8; Time 2: 9."]),
        ([("Price\n(EUR)", "48"), ("size; a: b", "4")], ["Price (EUR): 48; size, a b: 4."]),
        ([("shop", "Tarn"), ("open", "Mo: 9-18; Di: 10-20")], ["shop: Tarn; open: Mo: 9-18, Di: 10-20."]),
        ([("name", "Tarn"), ("street", "12 High\nStreet")], ["name: Tarn; street: 12 High Street."]),
    ],
)
def test_what_could_not_be_read_back_is_written_nearly_so(cells: list[tuple[str, str]], rows: list[str]) -> None:
    assert rows_of(cells) == rows


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


def test_a_row_is_one_sentence_whatever_ends_within_its_cells() -> None:
    rows = [
        "Name: Meyer; Adresse: Hauptstr. 5; Tel.: 030 1234567.",
        "问题: 怎么退货？; 答案: 三十天内。请保留收据.",
    ]

    assert sentences("\n\n".join(rows)) == rows
