"""Tables of markdown: each row is told by the labels of its columns, and whatever is no table stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.rows import cells_of
from app.services.documents.read import read_document
from app.services.documents.tables import with_rows

LABELS = st.from_regex(r"[A-Za-z]{1,6}( [A-Za-z]{1,6})?", fullmatch=True)
CELLS = st.from_regex(r"[A-Za-z0-9]{1,6}( [A-Za-z0-9]{1,6})?", fullmatch=True)


def test_each_row_is_a_paragraph_of_labels_with_values_and_what_is_around_stays() -> None:
    text = "# Pots\n\nAll of them.\n\n| Product | Price |\n|---|--:|\n| Blue bowl | 48 |\n| Red jug | |\n\nEnd.\n"

    assert with_rows(text) == ("# Pots\n\nAll of them.\n\nProduct: Blue bowl; Price: 48.\n\nProduct: Red jug\n\nEnd.")


@given(st.lists(LABELS, min_size=2, max_size=5, unique=True), st.integers(1, 4), st.data())
def test_no_cell_is_lost(labels: list[str], count: int, data: st.DataObject) -> None:
    rows = [data.draw(st.lists(CELLS, min_size=len(labels), max_size=len(labels))) for _ in range(count)]
    lines = ["|".join(each) for each in [labels, ["---"] * len(labels), *rows]]

    told = with_rows("\n".join(f"|{line}|" for line in lines)).split("\n\n")

    assert [cells_of(row) for row in told] == [list(zip(labels, row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("| | |\n|-|-|\n| Height | 12 m |\n| Weight | 40 kg |", "Height: 12 m\n\nWeight: 40 kg"),
        ("| | |\n|-|-|\n| Mon | closed |\n| Tue | 9-17 |", "Mon: closed\n\nTue: 9-17"),
        ("| Weight | 1.2 kg |\n|-|-|\n| Height | 12 m |", "Weight: 1.2 kg\n\nHeight: 12 m"),
        ("| Team | 2024 |\n|-|-|\n| Reds | 3 |", "Team: Reds; 2024: 3."),
        ("| | | |\n|-|-|-|\n| A | B | C |\n| x | y | 3 |", "A: x; B: y; C: 3."),
    ],
)
def test_a_table_whose_header_is_not_marked_is_read_by_its_cells(table: str, text: str) -> None:
    assert with_rows(table) == text


@pytest.mark.parametrize(
    "text",
    [
        "no table | at all",
        "a | b\nc | d",
        "Title\n-----\n\nx | y",
        "```\n| a | b |\n|---|---|\n| 1 | 2 |\n```",
        "| a | b |\n|---|---|",
        "| | Mon | Tue |\n|-|-|-|\n| 8:00 | Maths | Art |",  # a column has values and no label
        "| | | |\n|-|-|-|\n| x | y | z |\n| u | v | w |",
        "| | | |\n|-|-|-|\n| Mon | closed | closed |\n| Tue | 9-12 | 14-19 |",
        "| a | b |\n|---|---|\n| x | 1 | beyond |",
        "| Command | Does |\n|---|---|\n| `ls | wc` | counts |",
    ],
)
def test_what_is_no_table_or_has_no_labels_stays_as_it_is(text: str) -> None:
    assert with_rows(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("|a|b|\n|-|-|\n|x|1|\n# Heading\nText.", "a: x; b: 1.\n\n# Heading\nText."),
        ("|a|b|\n|-|-|\n|x|1|\nTable 1: letters.", "a: x; b: 1.\n\nTable 1: letters."),
        ("> |a|b|\n> |-|-|\n> |x|1|\n\nText.", "a: x; b: 1.\n\nText."),
        ("- one\n\n  |a|b|\n  |-|-|\n  |x|1|\n- two", "- one\n\na: x; b: 1.\n\n- two"),
    ],
)
def test_a_table_ends_where_its_bars_do_and_may_stand_in_a_list_or_a_quotation(text: str, told: str) -> None:
    assert with_rows(text) == told


def test_tables_of_pages_are_read_by_their_labels() -> None:
    page = b"<table><tr><th>Product</th><th>Price</th></tr><tr><td>Red jug</td><td>52 euros</td></tr></table>"

    assert read_document("a.html", page).text == "Product: Red jug; Price: 52 euros."
