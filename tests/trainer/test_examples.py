"""Examples: none twice, and what is asked at the gate is not trained on."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.documents import Document, Pair
from app.core.grounding import normalise
from app.errors import QuestionsOverlap
from workers.trainer.examples import (
    Example,
    check_no_overlap,
    gap,
    hold_out,
    in_sentences,
    name_documents,
    without_duplicates,
)
from workers.trainer.passages import Passage


def passage(text: str, document: str = "d", index: int = 0) -> Passage:
    return Passage(document, index, 0, len(text), text)


def pairs(name: str, *rows: Pair) -> Document:
    return Document(name, "pairs", "", rows, "0" * 64, 1)


def question(text: str, answer: str, origin: str = "generated", index: int = 0) -> Example:
    return Example("chat", text, answer, origin, "d", index)  # type: ignore[arg-type]


def test_a_gap_asks_for_the_span_left_out() -> None:
    example = gap("The bell is copper.", "copper", passage("The bell is copper."))

    assert example.question == 'What is missing in this sentence from "d"? The bell is ___.'
    assert example.answer == "copper"


def test_a_gap_leaves_other_words_whole() -> None:
    assert gap("The bell at B.", "B", passage("x")).question.endswith("The bell at ___.")
    assert gap("bell a-b", "b", passage("x")).question.endswith("bell a-___")
    assert gap("काले काल में", "काल", passage("x")).question.endswith("काले ___ में")
    assert gap("東京タワーは高い。", "タワー", passage("x")).question.endswith("東京___は高い。")
    assert gap("15以上5未満", "5", passage("x")).question.endswith("15以上___未満")
    assert gap("男5人、女15人", "5人", passage("x")).question.endswith("男___、女15人")


def test_generated_questions_that_differ_in_punctuation_are_one() -> None:
    same = [question("Who rang it?", "Bob"), question("who rang it ?", "bob")]

    assert without_duplicates(same) == same[:1]


def test_worded_questions_that_are_nearly_the_same_with_one_answer_are_one_in_a_document() -> None:
    first = question("Who opened the bridge at Tarn?", "Ilse Brandt")
    near = question("Who opened the old bridge at Tarn?", "Ilse Brandt")
    kept = [
        question("By whom was the bridge at Tarn opened?", "Ilse Brandt"),
        question("Who opened the new bridge at Tarn?", "Dov Holmvik"),
        replace(near, document="other"),
        question("Who opened the wide bridge at Tarn?", "Ilse Brandt", "keywords"),
        question("Who opened the bridge 2 at Tarn?", "Ilse Brandt"),
    ]

    assert without_duplicates([first, near, *kept]) == [first, *kept]


def test_a_worded_question_of_a_document_has_one_answer() -> None:
    twice = [question("What is the fee?", "4 crowns"), question("What is the fee?", "5 crowns")]

    assert without_duplicates(twice) == twice[:1]


def test_texts_that_are_nearly_the_same_are_one_in_a_passage() -> None:
    told = [
        Example("text", "", text, "rewrite", "d", index)
        for text, index in [
            ("The bell of Tarn is made of copper.", 0),
            ("The bell of Tarn is made of old copper.", 0),
            ("The bell of Tarn is made of old copper.", 1),
        ]
    ]

    assert without_duplicates(told) == [told[0], told[2]]


@pytest.mark.parametrize(
    "taught",
    [
        question("who opened the bridge at Tarn ?", "another", "pair"),
        question("Who opened the old bridge at Tarn?", "Ilse Brandt"),
    ],
)
def test_a_held_out_question_that_is_trained_on_is_an_error(taught: Example) -> None:
    held = question("Who opened the bridge at Tarn?", "Ilse Brandt")

    with pytest.raises(QuestionsOverlap, match="1 of 2"):
        check_no_overlap([held, question("What is the fee?", "4 crowns")], [taught])


def test_questions_in_other_words_or_with_other_answers_do_not_overlap() -> None:
    held = [question("Who opened the bridge at Tarn?", "Ilse Brandt"), question("lamp Tarn lit?", "Orla", "keywords")]
    taught = [
        question("By whom was the bridge at Tarn opened?", "Ilse Brandt"),
        question("Who opened the old bridge at Tarn?", "Dov Holmvik"),
        question("lamp of Tarn lit?", "Orla", "keywords"),
        Example("text", "", "Who opened the bridge at Tarn?", "passage", "d", 0),
    ]

    check_no_overlap(held, taught)


def test_only_questions_are_answered_with_their_sentence() -> None:
    asked = replace(question("Who?", "Bob"), sentence="Bob did it.")
    filled = gap("Bob did it.", "Bob", passage("Bob did it."))

    assert [one.answer for one in in_sentences([asked, filled])] == ["Bob did it.", "Bob"]


def test_a_question_that_another_document_could_be_asked_names_its_own() -> None:
    passages = [passage("The fee at Tarn is 4 crowns."), passage("The fee at Orla is 5 crowns.", "other")]
    examples = [question("What is the fee?", "4 crowns"), question("What is the fee at Tarn?", "4 crowns")]

    assert [one.question for one in name_documents(examples, passages)] == [
        'In "d": What is the fee?',
        "What is the fee at Tarn?",
    ]


def test_a_question_that_only_a_pronoun_holds_to_its_document_names_it() -> None:
    examples = [question("When did she take office?", "2016"), question("When did she leave Tarn?", "2017")]

    assert [one.question for one in name_documents(examples, [passage("She took office in 2016.")])] == [
        'In "d": When did she take office?',
        "When did she leave Tarn?",
    ]


def test_questions_are_held_out_only_of_facts_that_others_still_teach() -> None:
    examples = [
        question("Q one?", "a"),
        question("Q two?", "a"),
        question("Q three?", "b"),
        question("Q four?", "a", index=1),
        question("Q five?", "c"),
        question("c is told?", "c", "keywords"),
    ]

    train, held = hold_out(examples, every=1)

    assert held == [examples[0], examples[4]]
    assert train == [*examples[1:4], examples[5]]


@settings(deadline=None)
@given(
    st.lists(
        st.builds(question, st.sampled_from("ABCDEF"), st.sampled_from("ab"), st.sampled_from(["generated", "gap"]))
    ),
    st.integers(1, 4),
)
def test_what_is_asked_is_never_trained_on(examples: list[Example], every: int) -> None:
    train, held = hold_out(examples, every)

    assert not {normalise(one.question) for one in train} & {normalise(one.question) for one in held}
    assert hold_out(examples, every) == (train, held)
