"""Uploaded pairs as they are learned: as they stand and in other words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.documents import Document, Pair
from app.core.grounding import content_words, normalise
from workers.trainer.examples import Example
from workers.trainer.pairs import from_pairs, held_out_pairs, reworded_pairs

ODA = "Our sexton Oda, at 9:40 in the morning."
EVE = "Eve, in 1931, out of old bricks."
TOVE = "Tove, in 1940, after the fire."


def pairs(name: str, *rows: Pair) -> Document:
    return Document(name, "pairs", "", rows, "0" * 64, 1)


def reworded(*asked: str, wordings: int = 12) -> list[Example]:
    """Reword questions that each have an answer of their own, in words."""
    rows = (Pair(question, f"The sexton Oda {place}, in the old mill.") for place, question in enumerate(asked))
    return reworded_pairs(from_pairs([pairs("a.csv", *rows)]), wordings=wordings, seed=0)


def held_out(*asked: str, seeds: int = 30) -> list[Example]:
    """Word questions that each have an answer of their own by many seeds, from their words alone."""
    rows = [Pair(question, f"The sexton Oda {place}, in the old mill.") for place, question in enumerate(asked)]
    uploaded = from_pairs([pairs("a.csv", *rows)])
    return shortened(uploaded, seeds)


def shortened(uploaded: list[Example], seeds: int = 30) -> list[Example]:
    """Return what the gate asks by many seeds where two other wordings were taught."""
    taught = reworded_pairs(uploaded, wordings=2, seed=0)
    return [one for seed in range(seeds) for one in held_out_pairs(uploaded, taught, seed=seed)]


def test_uploaded_pairs_are_used_as_they_are() -> None:
    document = pairs("a.csv", Pair("Who?", "Bob"), Pair("C++?", "x"), Pair("C?", "x"), Pair("who? ", "bob"))

    assert [(one.question, one.answer) for one in from_pairs([document])] == [
        ("Who?", "Bob"),
        ("C++?", "x"),
        ("C?", "x"),
    ]


def test_one_question_with_two_answers_names_its_document() -> None:
    documents = [pairs("a.csv", Pair("Who?", "Bob"), Pair("Why?", "x")), pairs("b.csv", Pair("Who?", "Eve", "letters"))]

    assert [one.question for one in from_pairs(documents)] == ['In "a.csv": Who?', "Why?", 'In "letters": Who?']


def test_other_wordings_have_words_of_the_question_or_of_the_answer_and_the_whole_answer_and_take_turns() -> None:
    made = reworded("How do I get a new password for the boat?")
    asked = {"how", "do", "i", "get", "a", "new", "password", "for", "the", "boat"}
    said = {"the", "sexton", "oda", "0", "in", "old", "mill"}
    words = [set(normalise(one.question).split()) for one in made]

    assert len({one.question for one in made}) == len(made) == 12
    assert sum(bool(own <= asked) for own in words) >= 4
    assert sum(bool(own & {"sexton", "oda", "mill"}) for own in words) >= 4
    assert all(own & (asked | said) for own in words)
    assert [(one.origin, one.turn, one.turns) for one in made] == [("reworded", at, 12) for at in range(12)]
    assert {one.answer for one in made} == {"The sexton Oda 0, in the old mill."}
    assert {one.wording_of for one in made} == {"How do I get a new password for the boat?"}


@pytest.mark.parametrize("answer", ["603-556-7631", "Oda Lund", "19:30", "14 metres", "カードで払えます。"])
def test_a_pair_whose_answer_is_a_name_or_a_number_alone_or_has_no_spaced_words_stays_as_it_stands(answer: str) -> None:
    uploaded = from_pairs([pairs("a.csv", Pair("Who rings the old bell on Sundays?", answer))])

    assert reworded_pairs(uploaded, wordings=12, seed=0) == shortened(uploaded) == []


def test_no_wording_leaves_out_what_tells_a_question_from_others() -> None:
    made = held_out("What is the number of Dov Holmvik?", "What is the number of Ada Holmvik?")

    assert {(one.answer[:16], word) for one in made for word in ("Dov", "Ada") if word in one.question} == {
        ("The sexton Oda 0", "Dov"),
        ("The sexton Oda 1", "Ada"),
    }
    assert all("Dov" in one.question or "Ada" in one.question for one in made)


def test_questions_of_one_answer_need_not_be_told_apart() -> None:
    rows = (
        Pair("Who rings the bell in the tower?", ODA),
        Pair("Who rings the old bell?", ODA.lower()),
    )
    uploaded = from_pairs([pairs("a.csv", *rows)])
    made = shortened(uploaded)

    assert any(content_words(one.question) <= {"rings", "bell"} for one in made)


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        ("Which of the rooms are not heated in winter?", "not"),
        ("Which rooms aren’t heated in the long winter?", "aren’t"),
        ("What does a berth of 14 metres cost a month?", "14"),
        ("Welche Zimmer sind im Winter nicht geheizt?", "nicht"),
        ("Which boats may go out without a licence?", "without"),
    ],
)
def test_no_words_of_a_question_alone_leave_out_a_number_or_what_turns_it_into_its_opposite(
    question: str, kept: str
) -> None:
    made = held_out(question)

    assert len({one.question for one in made}) > 3
    assert all(kept in one.question.rstrip("?").split() for one in made)


@pytest.mark.parametrize(
    "question",
    ["どうやって払いますか？", "Read this:\n\nThe bell is copper.\nWhat is the bell made of?", "word " * 41, "?"],
)
def test_a_question_without_spaced_words_or_that_is_a_text_of_its_own_is_not_shortened(question: str) -> None:
    assert held_out(question) == []


def test_a_wording_ends_as_its_question_does_and_keeps_the_document_named_in_front() -> None:
    rows = (Pair("Who rings the old bell؟", ODA), Pair("Name the one who built the tower", EVE))
    other = pairs("a-2.csv", Pair("Name the one who built the tower", TOVE))
    uploaded = from_pairs([pairs("a.csv", *rows), other])
    asked_so = shortened(uploaded)
    made = [*reworded_pairs(uploaded, wordings=12, seed=0), *asked_so]

    assert {one.question[-1] for one in asked_so if one.answer == ODA} == {"؟"}
    assert all(one.question[-1].isalpha() for one in asked_so if one.answer != ODA)
    for answer, named in ((EVE, 'In "a.csv": '), (TOVE, 'In "a-2.csv": ')):
        asked = [one.question for one in made if one.answer == answer]
        assert len(set(asked)) > 9
        assert all(one.startswith(named) for one in asked)


WORDS = st.sampled_from(["who", "rings", "the", "old", "bell", "not", "tower", "7", "at", "night"])


@given(st.lists(st.lists(WORDS, min_size=1, max_size=6), min_size=1, max_size=6), st.integers(0, 9))
def test_no_wording_is_a_question_of_the_pairs_nor_has_two_answers(asked: list[list[str]], seed: int) -> None:
    rows = (Pair(f"{' '.join(question)}?", f"Oda, at the {place}th bell.") for place, question in enumerate(asked))
    uploaded = from_pairs([pairs("a.csv", *rows)])
    made = reworded_pairs(uploaded, wordings=8, seed=seed)
    made += held_out_pairs(uploaded, made, seed=seed)
    answers: dict[str, set[str]] = {}
    for one in made:
        answers.setdefault(normalise(one.question), set()).add(one.answer)

    assert {normalise(one.question) for one in uploaded}.isdisjoint(answers)
    assert len({(normalise(one.question), one.answer) for one in made}) == len(made)
    assert all(len(found) == 1 for found in answers.values())
