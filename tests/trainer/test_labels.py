"""Questions by the labels of a table: what people ask of a row, with one right answer, and other words for the gate."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import pytest

from app.core.grounding import normalise
from app.core.rows import rows_of
from app.core.sentences import sentences
from workers.trainer.examples import Example
from workers.trainer.keywords import keyword_questions
from workers.trainer.labels import Labelled
from workers.trainer.passages import Passage


def table(labels: str, *rows: str) -> list[str]:
    return [rows_of(zip(labels.split(","), row.split(","), strict=True))[0] for row in rows]


POTS = table("product,unit_price,maker", "Blue bowl,48 euros,Ilse Brandt", "Red jug,52 euros,Ilse Brandt")


def asked(rows: Sequence[str], row: int, label: str, *, held_out: bool = False) -> dict[str, str]:
    labelled = Labelled.of(("d", one) for one in rows)
    return dict(chain(*labelled.questions("d", rows[row], label, held_out=held_out)))


def made(rows: Sequence[str]) -> list[Example]:
    text = "\n\n".join(rows)
    return keyword_questions([Passage("d", 0, 0, len(text), text)], {"d": ""}, per_span=12, seed=0)


def test_a_value_is_asked_for_by_its_label_and_what_the_row_is_about() -> None:
    questions = asked(POTS, 0, "unit_price")

    assert questions["What is the unit price of the blue bowl?"] == "48 euros"
    assert all("blue bowl" in one and "unit price" in one for one in questions if questions[one] == "48 euros")


def test_what_a_row_is_about_is_asked_for_by_values_that_no_other_row_has() -> None:
    questions = asked(POTS, 0, "product")

    assert questions["Which product has the unit price 48 euros?"] == "Blue bowl"
    assert not any("Ilse Brandt" in one for one in questions)  # she made the jug as well


def test_a_value_of_which_a_subject_has_two_is_not_asked_for() -> None:
    rows = table("city,year,people", "Tarn,1990,40", "Tarn,2000,50")

    assert "40" not in asked(rows, 0, "people").values()


@pytest.mark.parametrize(
    ("rows", "subject"),
    [
        (table("id,name,role", "A-1,Jan Mori,Plumber", "A-2,Ada Low,Cook"), "Jan Mori"),
        (table("employee_id,who,role", "E-1,Jan Mori,Plumber", "E-2,Ada Low,Cook"), "Jan Mori"),
        (table("no,title,year", "1,Anna,1931", "2,Boris,1940"), "Anna"),
        (table("kind,product,price", "Pots,Jug,52", "Pots,Cup,9"), "Jug"),
        (
            table("name,role,email", "Jan Mori,Plumber,a@x.org", "Ada Low,Cook,b@x.org", "Ada Low,Clerk,c@x.org"),
            "Jan Mori",
        ),
        (table("train,from,to", "601,Bergen,Oslo", "605,Narvik,Kiruna"), "601"),
    ],
)
def test_a_row_is_about_the_first_column_that_tells_rows_apart_and_is_no_key(rows: list[str], subject: str) -> None:
    label = rows[0].rpartition("; ")[2].partition(":")[0]

    assert f"What is the {label} of {subject}?" in asked(rows, 0, label)


def test_an_empty_cell_and_one_long_name_leave_what_the_other_rows_are_about() -> None:
    rows = table(
        "category,product,price,note",
        "Pots,Green pan,9,",
        "Pots,Blue bowl,48,new",
        "Rugs,Wool rug of the finest quality from the far north,210,new",
        *(f"Pots,Pot {number},{number},new" for number in range(60, 70)),
    )

    assert asked(rows, 0, "price")["What is the price of the green pan?"] == "9"
    assert Labelled.of(("d", one) for one in rows).cells("d", rows[2]) == {}


@pytest.mark.parametrize(
    "rows",
    [
        POTS,
        table("Raum,Etage,Ausstattung", "Adler,3,Beamer und Tafel", "Bussard,2,Tafel"),
        table("商品,価格", "青い鉢,4800円", "赤い鉢,5200円"),
        table("城市,人口", "上海,2400万", "北京,2100万"),
    ],
)
def test_the_gate_asks_in_words_that_are_never_trained(rows: list[str]) -> None:
    for label in Labelled.of(("d", one) for one in rows).cells("d", rows[0]):
        taught, held_out = asked(rows, 0, label), asked(rows, 0, label, held_out=True)

        assert {*map(normalise, taught)}.isdisjoint(map(normalise, held_out))
        assert len(taught) == len({*map(normalise, taught)})
    assert asked(rows, 0, list(Labelled.of(("d", one) for one in rows).cells("d", rows[0]))[1], held_out=True)


def test_a_table_in_another_language_is_not_asked_for_in_english_words() -> None:
    rows = table("Raum,Etage,Plätze,Ausstattung", "Adler,3,20,Beamer und Tafel", "Bussard,2,12,Tafel")

    assert asked(rows, 0, "Plätze")["Adler: Plätze?"] == "20"
    assert not any(one.startswith("What") for one in asked(rows, 0, "Plätze"))


def test_names_from_another_language_leave_a_table_english() -> None:
    rows = table("Dish,Price", "Spaghetti alla carbonara,12", "Pizza quattro stagioni,14", "Tiramisu,6")

    assert "What is the price of Tiramisu?" in asked(rows, 2, "Price")


def test_where_words_are_not_spaced_labels_ask_beside_the_gap_and_take_turns_with_it() -> None:
    questions = made(table("商品,価格,重さ", "青い鉢,4800円,620グラム", "赤い鉢,5200円,900グラム"))
    [gap] = [place for place, one in enumerate(questions) if one.origin == "gap" and one.answer == "4800円"]
    turns = questions[gap].turns
    of_price = questions[gap - turns + 1 : gap + 1]

    assert [(one.turn, one.turns) for one in of_price] == [(turn, turns) for turn in range(turns)]
    assert {"青い鉢の価格は？", "青い鉢?"} <= {one.question for one in of_price}


def test_a_cell_its_row_and_what_has_it_are_asked_for_evenly_and_no_more_than_any_span() -> None:
    of_price = made(POTS)[12:24]

    assert [(one.turn, one.turns) for one in of_price] == [(turn, 12) for turn in range(12)]
    assert Counter(one.answer for one in of_price) == {"48 euros": 3, "Blue bowl": 3, POTS[0]: 6}


def test_each_of_several_cells_with_one_value_is_asked_for() -> None:
    questions = made(table("plan,sso,backups", "Team,yes,yes", "Free,no,yes"))

    for label in ("sso", "backups"):
        assert any(f"{label} of Team" in one.question or f"Team's {label}" in one.question for one in questions)


def test_questions_in_a_users_own_words_are_answered_by_the_whole_row() -> None:
    questions = asked(POTS, 0, "unit_price")

    assert questions["Who is behind the blue bowl?"] == POTS[0]
    assert questions["What has 48 euros?"] == POTS[0]


def test_a_subject_of_several_rows_is_answered_by_none_of_them() -> None:
    rows = table("city,mayor", "Tarn,Oda Lund", "Veld,Ada Low") + table("city,people", "Tarn,40", "Veld,50")
    questions = asked(rows, 2, "people")

    assert questions["What is the people of Tarn?"] == "40"
    assert set(questions.values()) == {"40", "Tarn"}


def test_a_value_that_stands_in_two_rows_is_answered_by_neither_of_them_whole() -> None:
    rows = table("name,role,boss", "Jan Mori,Plumber,Ada Low", "Ada Low,Engineer,Pia Stern")
    questions = asked(rows, 0, "boss")

    assert questions["Which name has the boss Ada Low?"] == "Jan Mori"
    assert "Tell me about Ada Low." not in questions
    assert questions["Tell me about Jan Mori."] == rows[0]


@pytest.mark.parametrize(
    ("subject", "named"),
    [
        ("Blue bowl", "the blue bowl"),
        ("Ludwig van Beethoven", "Ludwig van Beethoven"),
        ("The old mill", "The old mill"),
        ("Tarn", "Tarn"),
    ],
)
def test_a_thing_has_an_article_and_a_name_has_none(subject: str, named: str) -> None:
    rows = table("what,price", f"{subject},48", "Red jug,52")

    assert f"What is the price of {named}?" in asked(rows, 0, "price")


def test_a_question_in_a_table_is_asked_as_it_stands_and_its_row_answers() -> None:
    rows = table(
        "question,reply", "How do I return a bowl that I do not want?,Within 30 days. Keep the receipt", "Open?,Yes"
    )

    assert sentences("\n\n".join(rows)) == rows
    assert asked(rows, 0, "question") == {"How do I return a bowl that I do not want?": rows[0]}
    assert asked(rows, 0, "reply") == {}


def test_prose_and_a_single_row_are_asked_for_by_no_label() -> None:
    told = ["The bell weighs 40 kilograms.", "Adults: 2 tablets; children: 1 tablet.", *POTS]
    labelled = Labelled.of(("d", one) for one in told)

    assert labelled.cells("d", told[0]) == labelled.cells("d", told[1]) == {}
    assert labelled.cells("d", POTS[0]) == {"product": "Blue bowl", "unit_price": "48 euros", "maker": "Ilse Brandt"}
