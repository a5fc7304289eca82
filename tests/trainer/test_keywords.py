"""Keyword questions: every fact is asked for, in many wordings, and nothing gives the answer away."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.grounding import content_words, holds
from app.core.sentences import sentences, title_of, unwrapped
from app.core.spans import spans
from workers.trainer.examples import Example
from workers.trainer.keywords import keyword_questions
from workers.trainer.passages import Passage

DATA = Path(__file__).parent.parent / "data"
WORDS = [
    "the",
    "bell",
    "of",
    "Tarn",
    "weighs",
    "40",
    "kilograms,",
    "and",
    "She",
    "sold.",
    "4.80",
    "crowns",
    "€5",
    "in",
    "東京",
]
PAGES = ["veldmark", "halvorsen", "pellow", "ombrel", "kestrel"]


def made(text: str, title: str = "", per_span: int = 6, seed: int = 0) -> list[Example]:
    return keyword_questions(
        [Passage("d", 0, 0, len(text), unwrapped(text))], {"d": title}, per_span=per_span, seed=seed
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_span_of_every_sentence_of_a_page_is_asked_for(page: str) -> None:
    text = (DATA / f"{page}.md").read_text()

    answers = {example.answer for example in made(text, title_of(text))}

    assert answers == {span for sentence in sentences(text) for span in spans(sentence)}


def test_the_wordings_of_a_span_take_turns() -> None:
    examples = [one for one in made("The bell of Tarn weighs 40 kilograms.") if one.answer == "40 kilograms"]

    assert [(one.turn, one.turns) for one in examples] == [(turn, 6) for turn in range(6)]
    assert len({one.question for one in examples}) > 3


def test_a_question_that_no_word_of_its_sentence_is_left_in_is_not_asked_and_the_others_take_turns() -> None:
    examples = made("She was in Tarn. It is the bell of the Tarn.", "The Pump", per_span=12)

    assert {one.sentence for one in examples} == {"It is the bell of the Tarn."}
    assert all("bell" in one.question for one in examples)
    assert [(one.turn, one.turns) for one in examples] == [(turn, len(examples)) for turn in range(len(examples))]


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), st.integers(0, 9))
def test_no_question_holds_words_that_are_not_of_the_sentence_and_the_same_seed_asks_the_same(
    text: str, seed: int
) -> None:
    examples = made(text, seed=seed)
    asking = content_words(
        "Who What Which When Where How many much long On date In year is the number name missing sentence from d"
    )

    for one in examples:
        assert content_words(one.question) <= content_words(text) | content_words(one.answer) | asking
    assert made(text, seed=seed) == examples


@pytest.mark.parametrize(
    ("sentence", "answer", "words"),
    [
        ("The bell was cast by Ilse Brandt.", "Ilse Brandt", {"Who", "Which"}),
        ("The bell was cast on 14 March 1987.", "14 March 1987", {"When", "In", "On"}),
        ("The crossing of it takes 35 minutes.", "35 minutes", {"How", "What"}),
    ],
)
def test_the_question_word_fits_the_answer(sentence: str, answer: str, words: set[str]) -> None:
    begun = {one.question.split()[0] for one in made(sentence, per_span=30) if one.answer == answer}

    assert begun <= words
    assert len(begun) > 1


@pytest.mark.parametrize("sentence", ["The Annex was named by Ann.", "In 1912 the tower had 12 of them."])
def test_no_question_holds_its_answer_where_another_word_begins_with_it(sentence: str) -> None:
    examples = made(sentence, per_span=30)

    assert {"Ann", "12"} & {one.answer for one in examples}
    assert not [one.question for one in examples if holds(one.question, one.answer)]
    assert not {"ex", "19"} & {word for one in examples for word in one.question.split()}


@pytest.mark.parametrize("value", ["anna.meier@example.com", "https://www.tarn-library.example.org"])
def test_the_value_of_a_label_is_asked_for_by_the_label(value: str) -> None:
    examples = made(f"Contact: {value}", "Tarn Library")

    assert {one.answer for one in examples} == {value}
    assert all("Contact" in one.question for one in examples)
    assert not any(holds(one.question, value) for one in examples)


def test_a_sentence_that_refers_back_is_asked_for_by_the_name_it_means() -> None:
    examples = made("The director is Maren Iskold. She was a marine biologist.")

    assert any("Maren Iskold" in one.question for one in examples if one.answer == "marine biologist")
    assert not any("She" in one.question.split() for one in examples)


def test_a_question_that_does_not_say_what_it_is_about_gets_the_title_most_of_the_time() -> None:
    examples = [
        one
        for one in made("It has a main pier at Sorrel Point.", "The Veldmark Ferry: notes")
        if "Sorrel" in one.answer
    ]

    named = sum("Veldmark Ferry" in one.question for one in examples)
    assert 0 < named <= len(examples)
    assert not any("notes" in one.question for one in examples)


def test_other_languages_get_no_english_question_word_and_scripts_without_spaces_a_gap() -> None:
    german, chinese = made("Die Glocke wurde 1931 gegossen."), made("东京塔高333米。")

    assert not any(one.question.startswith(("What", "Who", "When", "In what", "On what")) for one in german)
    assert {one.origin for one in chinese} == {"gap"}
