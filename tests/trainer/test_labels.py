"""Questions by the labels of a table: what people ask of a row, with one right answer, and other words for the gate."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import pytest

from app.core.grounding import normalise
from app.core.rows import row_of
from workers.trainer.keywords import keyword_questions
from workers.trainer.labels import Labelled
from workers.trainer.passages import Passage

POTS = [
    row_of([("product", "Blue bowl"), ("unit_price", "48 euros"), ("maker", "Ilse Brandt")]),
    row_of([("product", "Red jug"), ("unit_price", "52 euros"), ("maker", "Ilse Brandt")]),
]


def asked(rows: Sequence[str], row: int, span: str, *, held_out: bool = False) -> list[str]:
    groups = Labelled.of(("d", one) for one in rows).questions("d", rows[row], span, held_out=held_out)
    return [question for group in groups for question, answer in group if answer == span]


def test_a_value_is_asked_for_by_its_label_and_what_the_row_is_about() -> None:
    questions = asked(POTS, 0, "48 euros")

    assert "What is the unit price of the blue bowl?" in questions
    assert all("blue bowl" in one and "unit price" in one for one in questions)


def test_what_a_row_is_about_is_asked_for_by_values_that_no_other_row_has() -> None:
    questions = asked(POTS, 0, "Blue bowl")

    assert "Which product has the unit price 48 euros?" in questions
    assert not any("Ilse Brandt" in one for one in questions)  # she made the jug as well


def test_a_value_of_which_a_subject_has_two_is_not_asked_for() -> None:
    rows = [
        row_of([("city", "Tarn"), ("year", year), ("people", people)])
        for year, people in (("1990", "40"), ("2000", "50"))
    ]

    assert asked(rows, 0, "40") == []


@pytest.mark.parametrize(
    ("cells", "subject"),
    [
        ([("id", "A-1"), ("name", "Jan Mori"), ("role", "Plumber")], "Jan Mori"),
        ([("no", "1"), ("title", "Anna"), ("year", "1931")], "Anna"),
        ([("room", "Adler"), ("floor", "3")], "Adler"),
    ],
)
def test_a_row_is_about_its_first_cell_that_is_no_number_or_key(cells: list[tuple[str, str]], subject: str) -> None:
    [label, value] = cells[-1]

    assert f"What is the {label} of {subject}?" in asked([row_of(cells)], 0, value)


def test_the_rows_are_about_the_column_that_tells_them_apart() -> None:
    rows = [
        row_of([("kind", "Pots"), ("product", name), ("price", price)]) for name, price in (("Jug", "52"), ("Cup", "9"))
    ]

    assert "What is the price of Cup?" in asked(rows, 1, "9")


def test_the_gate_asks_in_words_that_are_never_trained() -> None:
    for span in ("48 euros", "Blue bowl"):
        taught, held_out = asked(POTS, 0, span), asked(POTS, 0, span, held_out=True)

        assert held_out
        assert {*map(normalise, taught)}.isdisjoint(map(normalise, held_out))


def test_a_table_in_another_language_is_not_asked_for_in_english_words() -> None:
    rows = [row_of([("Raum", "Adler"), ("Etage", "3"), ("Plätze", "20"), ("Ausstattung", "Beamer und Tafel")])]

    assert "Adler: Plätze?" in asked(rows, 0, "20")
    assert not any(one.startswith("What") for one in asked(rows, 0, "20"))


def test_where_words_are_not_spaced_labels_ask_beside_the_gap_and_take_turns_with_it() -> None:
    text = row_of([("商品", "青い鉢"), ("価格", "4800円"), ("重さ", "620グラム")])

    made = keyword_questions([Passage("d", 0, 0, len(text), text)], {"d": ""}, per_span=12, seed=0)
    [gap] = [place for place, one in enumerate(made) if one.origin == "gap" and one.answer == "4800円"]
    turns = made[gap].turns
    of_price = made[gap - turns + 1 : gap + 1]

    assert [(one.turn, one.turns) for one in of_price] == [(turn, turns) for turn in range(turns)]
    assert {"青い鉢の価格は？", "青い鉢?"} <= {one.question for one in of_price}


def test_a_cell_its_row_and_what_has_it_are_asked_for_evenly_and_no_more_than_any_span() -> None:
    text = "\n\n".join(POTS)

    made = keyword_questions([Passage("d", 0, 0, len(text), text)], {"d": ""}, per_span=12, seed=0)
    of_price = made[12:24]

    assert [(one.turn, one.turns) for one in of_price] == [(turn, 12) for turn in range(12)]
    assert Counter(one.answer for one in of_price) == {"48 euros": 3, "Blue bowl": 3, POTS[0]: 6}


def test_questions_in_a_users_own_words_are_answered_by_the_whole_row() -> None:
    labelled = Labelled.of(("d", one) for one in POTS)
    asked = [one for group in labelled.questions("d", POTS[0], "48 euros") for one in group]

    assert ("Who is behind the blue bowl?", POTS[0]) in asked
    assert ("What has 48 euros?", POTS[0]) in asked
    assert not any("Ilse Brandt" in one for one, _ in chain(*labelled.questions("d", POTS[0], "Blue bowl")))


def test_a_subject_of_several_rows_is_answered_by_none_of_them() -> None:
    rows = [row_of([("city", "Tarn"), ("mayor", "Oda Lund")]), row_of([("city", "Tarn"), ("people", "40")])]
    asked = list(chain(*Labelled.of(("d", one) for one in rows).questions("d", rows[1], "40")))

    assert ("What is the people of Tarn?", "40") in asked
    assert {answer for _, answer in asked} == {"40", "Tarn"}


def test_a_value_that_stands_in_two_rows_is_answered_by_neither_of_them_whole() -> None:
    rows = [
        row_of([("name", "Jan Mori"), ("role", "Plumber"), ("boss", "Ada Low")]),
        row_of([("name", "Ada Low"), ("role", "Engineer"), ("boss", "Pia Stern")]),
    ]
    asked = dict(chain(*Labelled.of(("d", one) for one in rows).questions("d", rows[0], "Ada Low")))

    assert asked["Which name has the boss Ada Low?"] == "Jan Mori"
    assert "Tell me about Ada Low." not in asked
    assert asked["Tell me about Jan Mori."] == rows[0]


def test_prose_and_a_value_within_a_cell_are_asked_for_by_no_label() -> None:
    assert asked(["The bell weighs 40 kilograms.", *POTS], 0, "40 kilograms") == []
    assert asked(POTS, 0, "48") == []
