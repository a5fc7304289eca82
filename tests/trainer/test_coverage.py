"""Coverage: every fact is asked for, whatever the generator does, and the report says by what."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.documents import Document
from app.core.grounding import content_words, holds
from app.core.recipe import Recipe
from app.core.sentences import sentences
from app.core.spans import spans
from tests.trainer.tiny import byte_tokenizer
from workers.languages.prompts import clean_texts
from workers.trainer.coverage import Coverage, cover, fill
from workers.trainer.examples import Example, from_passages
from workers.trainer.facts import facts_of
from workers.trainer.passages import Passage
from workers.trainer.prepare import Lesson, prepare
from workers.trainer.prompts import Message

PAGE = (Path(__file__).parent.parent / "data" / "veldmark.md").read_text()
TOLD = "The bell of Tarn weighs 40 kilograms. Rain fell."
WORDS = [
    "The",
    "bell",
    "of",
    "Tarn",
    "weighs",
    "40",
    "kilograms,",
    "She",
    "sold.",
    "€5",
    "in",
    "東京。",
    "a-b",
    "#",
    "\n\n",
    "»x«!",
    "| ㎏ ℃ |",
    "№",
]


def passage(text: str) -> Passage:
    return Passage("d", 0, 0, len(text), text)


def question(answer: str, origin: Any = "generated", sentence: str = sentences(TOLD)[0]) -> Example:
    return Example("chat", f"Q {answer}?", answer, origin, "d", 0, sentence=sentence)


async def lesson(text: str, **recipe: Any) -> Lesson:
    """Prepare with a generator that never says anything."""

    async def ask(_messages: list[Message], _temperature: float, _most_tokens: int) -> str:
        return ""

    async def on_progress(_done: int, _total: int) -> None:
        return None

    document = Document("d", "prose", text, (), "0" * 64, len(text))
    [made] = await prepare([document], byte_tokenizer(), Recipe.from_dict(recipe), ask, on_progress)
    return made


def bare_of_examples(made: Lesson) -> list[str]:
    """Return the sentences that say something and that no single question with its answer carries whole."""
    carried = [content_words(f"{one.question} {one.answer}") for one in made.examples if one.kind == "chat"]
    told = [sentence for one in made.passages for sentence in sentences(one.text)]
    wanted = {sentence: content_words(sentence) for sentence in told}
    return [one for one, words in wanted.items() if len(words) > 1 and not any(words <= held for held in carried)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join), st.sampled_from([0, 2]))
async def test_every_sentence_has_an_example_even_if_the_generator_words_nothing(text: str, keywords: int) -> None:
    made = await lesson(text, keyword_questions=keywords, passage_tokens=64, passage_overlap_tokens=16)
    summary = made.coverage.summary()

    assert bare_of_examples(made) == []
    assert summary["covered"] == summary["facts"]


async def test_no_keyword_question_has_two_sentences_for_an_answer_and_each_fact_is_asked_for_all_the_same() -> None:
    made = await lesson("Rain fell at Tarn. Rain fell at Kettle. What has the Many LoRAs.")
    pairs = {(one.question, one.answer) for one in made.examples if one.kind == "chat"}
    summary = made.coverage.summary()

    assert len({question for question, _ in pairs}) == len(pairs)
    assert summary["covered"] == summary["facts"] == 3
    assert summary["by_origin"]["gap"] > 0  # the last says nothing beside its span


@pytest.mark.parametrize("language", ["zh", "ja"])
async def test_where_words_are_not_spaced_no_question_has_two_answers(language: str) -> None:
    made = await lesson("\n\n".join(clean_texts(language)), passage_tokens=8192)
    pairs = {(one.question, one.answer) for one in made.examples if one.kind == "chat"}

    assert len(pairs) > 20
    assert len({question for question, _ in pairs}) == len(pairs)


async def test_sentences_of_one_clause_without_spaces_are_told_apart_by_what_is_left_of_them() -> None:
    names = [family + given for family in "王李张刘陈" for given in "芳强敏洋"]
    made = await lesson("".join(f"{name}是村里的老师。" for name in names), passage_tokens=8192)

    assert [(one.question, one.answer) for one in made.examples if one.kind == "chat"] == [
        (f'What is missing in this sentence from "d"? {name}是村里的___。', "老师") for name in names
    ]


@pytest.mark.parametrize(
    ("sentence", "asked", "answer"),
    [
        ("老师是王芳的老师。", "老师是王芳的___。", "老师"),
        ("他吃了饭，睡了。", "他吃了饭，___。", "睡了"),
        ("それはとても雨降。", "それはとても雨___。", "降"),
        ("我们都很喜欢用Python", "我们都很喜欢___", "用Python"),
        ("ครูอยู่ที่นี่", "ครูอยู่___", "ที่นี่"),
        ("나는 집에 있다.", "나는 집에 ___.", "있다"),
        ("| ㎏ | ㎡ | ℃ |", "㎏ | ㎡ | ___", "℃"),
        ("™ №!", "™ ___!", "№"),
    ],
)
def test_the_end_of_a_sentence_is_left_out_and_something_to_tell_it_by_stays(
    sentence: str, asked: str, answer: str
) -> None:
    [fact] = facts_of([passage(sentence)])
    [example] = fill([replace(fact, span="")], [])

    assert (example.question, example.answer) == (f'What is missing in this sentence from "d"? {asked}', answer)


@pytest.mark.parametrize("keywords", [0, 12])
async def test_every_span_of_a_page_is_asked_for_with_and_without_keyword_questions(keywords: int) -> None:
    made = await lesson(PAGE, keyword_questions=keywords, answers="span", passage_tokens=8192)
    answers = [one.answer for one in made.examples if one.kind == "chat"]

    assert [
        span for one in sentences(PAGE) for span in spans(one) if not any(holds(said, span) for said in answers)
    ] == []
    gaps = made.coverage.summary()["by_origin"]["gap"]
    assert (gaps > len(answers) / 2) is (keywords == 0)  # with keyword questions, of what has no span alone


async def test_a_recipe_without_questions_gets_no_gaps_and_the_report_says_what_is_not_covered() -> None:
    made = await lesson(PAGE, keyword_questions=0, questions_per_passage=0)
    summary = made.coverage.summary()

    assert "gap" not in {one.origin for one in made.examples}
    assert summary["covered"] == 0 < summary["facts"]


def test_an_example_covers_the_facts_that_its_answer_holds_of_its_own_sentence_only() -> None:
    facts = facts_of([passage(TOLD)])
    covered = cover(
        facts, [question("40 kilograms"), question("40 kilograms", "keywords", "Another weighs 40 kilograms.")]
    )

    assert [fact.span for fact in facts] == ["40 kilograms", "Tarn", ""]
    assert [dict(one.origins) for one in covered] == [{"generated": 1}, {}, {}]


def test_a_text_tells_a_fact_but_does_not_ask_for_it() -> None:
    facts = facts_of([passage(TOLD)])
    texts = from_passages([passage(TOLD)])
    covered = cover(facts, texts)

    assert [dict(one.origins) for one in covered] == [{"passage": 1}] * 3
    assert not any(one.is_asked for one in covered)
    assert [one.answer for one in fill(facts, texts)] == ["40 kilograms", "Tarn", "fell"]


def test_gaps_are_made_for_what_nothing_asks_for() -> None:
    facts = facts_of([passage(TOLD)])
    gaps = fill(facts, [question("Tarn"), question("", sentence="Rain fell."), *from_passages([passage(TOLD)])])

    assert [(one.question, one.answer) for one in gaps] == [
        ('What is missing in this sentence from "d"? The bell of Tarn weighs ___.', "40 kilograms")
    ]


def test_the_summary_has_numbers_only_and_the_report_survives_json() -> None:
    report = Coverage(cover(facts_of([passage(TOLD)]), [question("Tarn")]), {"not_grounded": 2})

    assert report.summary() == {"facts": 3, "covered": 1, "by_origin": {"generated": 1}, "dropped": {"not_grounded": 2}}
    assert Coverage.from_dict({"facts": report.rows(), "dropped": {"not_grounded": 2}}) == report
