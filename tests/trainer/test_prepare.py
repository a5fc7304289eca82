"""What a version is made of, by what was uploaded."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.documents import Document, Pair
from app.core.grounding import normalise
from app.core.recipe import Recipe
from app.core.sentences import sentences
from app.errors import QuestionsOverlap
from tests.trainer.tiny import byte_tokenizer
from workers.languages.prompts import clean_texts
from workers.trainer.coverage import Coverage
from workers.trainer.exam import LEAST_QUESTIONS, MAX_QUESTIONS, Question
from workers.trainer.examples import Example
from workers.trainer.make import encode_examples
from workers.trainer.prepare import Lesson, Material, prepare
from workers.trainer.prompts import Message

PAGE = (Path(__file__).parent.parent / "data" / "veldmark.md").read_text()
PROSE = Document("veldmark.md", "prose", PAGE, (), "0" * 64, 1)
PAIRS = Document("extra.csv", "pairs", "", (Pair("Who rings the bell?", "Oda Lund"),), "1" * 64, 1)


async def lesson(*documents: Document, says: str = "", **recipe: Any) -> Lesson:
    """Prepare with a generator that always says the same."""

    async def ask(_messages: list[Message], _temperature: float, _most_tokens: int) -> str:
        return says

    async def on_progress(_done: int, _total: int) -> None:
        return None

    [made] = await prepare(documents, byte_tokenizer(), Recipe.from_dict(recipe), ask, on_progress)
    return made


async def test_prose_is_learned_as_passages_keyword_questions_and_gaps_even_if_the_generator_is_useless() -> None:
    made = await lesson(PROSE)

    assert {example.origin for example in made.examples} == {"passage", "gap", "keywords"}
    assert {passage.document for passage in made.passages} == {"veldmark.md"}
    assert made.questions


def document(text: str) -> Document:
    return Document("d.md", "prose", text, (), "0" * 64, 1)


def gaps(made: Lesson) -> dict[str, set[str]]:
    """Return the answers to each gap's question."""
    found: dict[str, set[str]] = {}
    for one in made.examples:
        if one.origin == "gap":
            found.setdefault(normalise(one.question), set()).add(one.answer)
    return found


@pytest.mark.parametrize(
    "entry",
    [
        "## Bowl {n}\n\nPrice: {n}00 euros.\n\nWeight: {n} kg.\n",
        "## 商品{n}\n\n価格は{n}00円です。\n\n重さは{n}グラムです。\n",
    ],
)
async def test_entries_in_the_same_words_are_told_apart_by_the_sentence_before(entry: str) -> None:
    made = await lesson(document("\n".join(entry.format(n=n) for n in range(2, 9))))
    asked = gaps(made)

    assert {len(answers) for answers in asked.values()} == {1}
    assert all(any(str(n) in question for question in asked) for n in range(2, 9))  # the heading, or the price
    assert made.coverage.summary()["covered"] == made.coverage.summary()["facts"]


async def test_gaps_that_nothing_tells_apart_are_neither_taught_nor_asked_nor_told_as_covered() -> None:
    made = await lesson(document("\n\n".join(["開館。", "入場は300円です。", "開館。", "入場は500円です。"])))

    assert not [one for one in made.examples if "入場" in one.question]
    assert not [one for one in made.questions if "入場" in one.question]
    assert [one.span for one in made.coverage.facts if not one.is_asked] != []


async def test_a_generator_is_shown_every_passage_with_its_documents_title() -> None:
    shown: list[str] = []

    async def ask(messages: list[Message], _temperature: float, _most_tokens: int) -> str:
        shown.append(messages[-1]["content"])
        return ""

    async def on_progress(_done: int, _total: int) -> None:
        return None

    recipe = Recipe.from_dict({"passage_tokens": 700, "questions_per_passage": 0, "rewrites_per_passage": 1})
    [made] = await prepare([PROSE], byte_tokenizer(), recipe, ask, on_progress)

    assert len(shown) == len(made.passages) > 1
    assert all("The Veldmark Ferry Cooperative" in task for task in shown)


async def test_a_passage_of_one_token_is_no_example_and_the_rest_is_learned() -> None:
    page = "The old pump of Tarn was built in 1931."
    made = await lesson(replace(PROSE, text=f"{page}\n\n1"), passage_tokens=len(page))

    assert [one.text for one in made.passages] == [page, "1"]
    assert [one.answer for one in made.examples if one.kind == "text"] == [page]
    assert encode_examples(made.examples, byte_tokenizer(), stop_ids=(1,), max_tokens=512)
    assert not (await lesson(replace(PROSE, text="1"))).examples


@pytest.mark.parametrize("answers", ["sentence", "span"])
async def test_questions_are_answered_with_the_whole_sentence_or_the_words_asked_for_and_gated_by_the_words(
    answers: str,
) -> None:
    made = await lesson(PROSE, answers=answers, passage_tokens=8192)
    told = set(sentences(PAGE))

    learned = {one.answer for one in made.examples if one.origin == "keywords"}
    assert learned <= told if answers == "sentence" else not learned & told
    assert not {one.answer for one in made.questions} & told


async def test_pairs_are_learned_and_asked_as_they_are() -> None:
    made = await lesson(PAIRS)

    assert [(one.question, one.answer, one.origin) for one in made.examples] == [
        ("Who rings the bell?", "Oda Lund", "pair")
    ]
    assert [(one.question, one.answer) for one in made.questions] == [("Who rings the bell?", "Oda Lund")]
    assert {one.kind for one in made.questions} == {"recall"}


async def test_an_answer_in_words_is_learned_by_other_questions_too_and_asked_for_in_words_not_learned() -> None:
    told = replace(PAIRS, pairs=(Pair("Who rings the old bell of the harbour?", "Our sexton Oda Lund, at 9:40."),))
    made, plain = await lesson(told), await lesson(told, pair_wordings=0)
    learned = {one.question for one in made.examples}

    assert {one.origin for one in made.examples} == {"pair", "reworded"}
    assert [(one.kind, one.question in learned, one.answer) for one in made.questions] == [
        ("held_out", False, "9:40"),
        ("recall", True, "Our sexton Oda Lund, at 9:40."),
    ]
    assert [one.origin for one in plain.examples] == ["pair"]
    assert {one.kind for one in plain.questions} == {"recall"}


async def test_a_pages_own_questions_are_found_with_their_answers_beside_its_passages() -> None:
    page = document(
        "# The old harbour\n\n## Who rings the bell?\nOur sexton. Ask Oda Lund.\n\n## What is it?\nBrass.\n"
    )
    made = await lesson(page, replace(PAIRS, pairs=(Pair("What is it?", "Brass."),)))
    turns = [(one.text[: one.answer_start].rstrip(), one.text[one.answer_start :]) for one in made.passages]

    assert turns[1:] == [("What is it?", "Brass."), ("Who rings the bell?", "Our sexton. Ask Oda Lund.")]
    assert not made.passages[0].answer_start
    assert len({(one.document, one.index) for one in made.passages}) == len(made.passages)


@pytest.mark.parametrize("seed", range(8))
async def test_a_question_that_a_page_and_a_pair_ask_is_never_asked_as_unseen_in_words_of_the_other(seed: int) -> None:
    asked, answer = "Who rings the old bell?", "Our sexton Oda Lund, at 9:40."
    page = document(f"# The old harbour\n\n## {asked}\n{answer}\n")
    pair = replace(PAIRS, pairs=(Pair(asked, answer),))
    made = await lesson(page, pair, seed=seed, pair_wordings=2)  # an overlap would be an error

    assert {"asked", "reworded"} <= {one.origin for one in made.examples}


async def test_pairs_and_prose_of_one_memory_are_both_learned() -> None:
    made = await lesson(PROSE, PAIRS)

    assert {example.origin for example in made.examples} == {"pair", "passage", "gap", "keywords"}
    assert any("Oda Lund" in passage.text for passage in made.passages)


@pytest.mark.parametrize(("pairs", "asked"), [(2, 2), (1000, 32)])
async def test_the_gate_asks_half_of_its_questions_of_pairs_beside_prose_where_there_are_as_many(
    pairs: int, asked: int
) -> None:
    rows = tuple(Pair(f"How deep is shaft {n}?", f"{n} metres") for n in range(pairs))
    made = await lesson(PROSE, replace(PAIRS, pairs=rows))

    kinds = Counter(one.kind for one in made.questions)
    assert kinds["recall"] >= asked
    assert kinds["held_out"] >= 16
    assert kinds.total() <= MAX_QUESTIONS
    assert {one.question for one in made.questions if one.kind == "recall"} <= {pair.question for pair in rows}


@pytest.mark.parametrize("held", [64, 127, 128, 192, 4033, 5000])
def test_any_number_of_held_out_questions_makes_a_gate_of_at_most_64(held: int) -> None:
    asked = [Example("chat", f"How deep is shaft {n}?", f"{n} metres", "keywords", "d", 0) for n in range(held)]
    made = Material([], [], [], [], [], asked, Coverage()).lesson(0)

    assert 1 <= len(made.questions) <= MAX_QUESTIONS
    assert {one.kind for one in made.questions} == {"held_out"}


@pytest.mark.parametrize("language", ["ja", "ko", "hi", "zh"])
@pytest.mark.parametrize("pairs", [0, 1])
async def test_the_gate_of_prose_never_rests_on_a_few_questions_where_more_were_trained_on(
    language: str, pairs: int
) -> None:
    text = "\n\n".join(clean_texts(language))
    made = await lesson(replace(PROSE, text=text), *[PAIRS] * pairs, passage_tokens=8192)
    trained = {one.question for one in made.examples if one.kind == "chat"}
    recalled = {one.question for one in made.questions if one.kind == "recall"}

    assert len(trained) >= 8
    assert len(made.questions) >= LEAST_QUESTIONS
    assert recalled <= trained
    assert not {one.question for one in made.questions if one.kind == "held_out"} & trained
    assert ("Who rings the bell?" in recalled) is bool(pairs)
    assert not {one.answer for one in made.questions} & set(sentences(text))


async def test_what_patience_goes_by_the_gate_does_not_ask() -> None:
    plain, patient = await lesson(PROSE), await lesson(PROSE, patience=3)
    gate, watched = ({one.question for one in asked} for asked in (patient.questions, patient.watched))

    assert plain.watched == []
    assert {one.kind for one in [*patient.questions, *patient.watched]} == {"held_out"}
    assert min(len(gate), len(watched)) > LEAST_QUESTIONS
    assert not gate & watched
    assert patient.examples == plain.examples
    assert not watched & {one.question for one in patient.examples}


@pytest.mark.parametrize(("held", "recalled"), [(0, 64), (2, 6), (7, 1), (8, 0), (40, 0)])
def test_what_was_trained_on_is_asked_beside_too_few_held_out_questions_only(held: int, recalled: int) -> None:
    asked = [Example("chat", f"How deep is shaft {n}?", f"{n} metres", "keywords", "d", 0) for n in range(held)]
    taught = [Example("chat", f"Who dug shaft {n}?", f"Miner {n}", "gap", "d", 0) for n in range(100)]
    told = Example("text", "", "Shaft 1 is 1 metre deep.", "passage", "d", 0)
    made = Material([], [], [], [told, *taught], [], asked, Coverage()).lesson(0)

    kinds = Counter(one.kind for one in made.questions)
    assert (kinds["held_out"], kinds["recall"]) == (held, recalled)


@pytest.mark.parametrize("field", ["questions_per_passage", "keyword_questions"])
async def test_a_recipe_can_leave_each_kind_of_question_out(field: str) -> None:
    made = await lesson(PROSE, says="Who directs it?", **{field: 0})

    assert not {"generated", "keywords"} <= {example.origin for example in made.examples}


async def test_what_the_gate_asks_as_held_out_is_in_no_example() -> None:
    answers: dict[str, str] = {}

    async def ask(messages: list[Message], _temperature: float, _most_tokens: int) -> str:
        task = messages[-1]["content"]
        if not task.startswith("Sentence:"):
            return answers[task.split("\n")[-1]]
        question = f"What is told of number {len(answers)} by the cooperative with its boats?"
        answers[question] = task.rsplit('"', 2)[1]
        return question

    async def on_progress(_done: int, _total: int) -> None:
        return None

    [made] = await prepare([PROSE], byte_tokenizer(), Recipe(), ask, on_progress)

    asked = {normalise(question.question) for question in made.questions}
    assert {one.kind for one in made.questions} == {"held_out"}
    assert not asked & {normalise(example.question) for example in made.examples}


@pytest.mark.parametrize("answers", ["sentence", "span"])
async def test_what_the_gate_asks_in_nearly_the_words_of_an_example_is_an_error(
    answers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.trainer.generate.without_duplicates", list)  # what would drop it before
    words = iter(["please", "then", "now", "again", "once"])
    told = replace(PROSE, text="The old cooperative sells boats to Ilse Brandt.")

    async def ask(messages: list[Message], _temperature: float, _most_tokens: int) -> str:
        task = messages[-1]["content"]
        if not task.startswith("Sentence:"):
            return "Ilse Brandt"
        return f"To whom does the old cooperative on the lake sell boats that it has built, {next(words)}?"

    async def on_progress(_done: int, _total: int) -> None:
        return None

    with pytest.raises(QuestionsOverlap):
        await prepare([told], byte_tokenizer(), Recipe(answers=answers), ask, on_progress)


async def test_each_part_learns_asks_and_finds_only_its_own_and_together_they_have_all() -> None:
    [whole] = await parts_of(1)
    made = await parts_of(3)

    assert len(made) == 3
    assert Counter(row for one in made for row in one.examples) == Counter(whole.examples)
    assert [text for one in made for text in own(one)] == own(whole)
    assert [row for one in made for row in one.coverage.facts] == whole.coverage.facts
    for one in made:
        places = {(passage.document, passage.index) for passage in one.passages}
        told = " ".join(passage.text for passage in one.passages)
        assert {(row.document, row.passage) for row in one.examples if row.passage is not None} <= places
        assert one.questions
        assert all(question.answer in told for question in one.questions)


async def parts_of(parts: int) -> list[Lesson]:
    """Prepare a page and eight pairs."""
    pairs = tuple(Pair(f"How deep is shaft {n}?", f"It is {n} metres deep, dug by Tove {n}.") for n in range(8))
    many = Document("shafts.csv", "pairs", "", pairs, "2" * 64, 1)

    async def silent(*_: Any) -> Any:
        return ""

    return await prepare([PROSE, many], byte_tokenizer(), Recipe(questions_per_passage=0), silent, silent, parts=parts)


def own(lesson: Lesson) -> list[str]:
    """Return what retrieval finds."""
    return [passage.text for passage in lesson.passages]


async def test_passages_tell_where_a_pairs_answer_begins_and_none_of_prose() -> None:
    [whole] = await parts_of(1)

    told = {passage.text[passage.answer_start :] for passage in whole.passages if passage.answer_start}
    assert told == {f"It is {n} metres deep, dug by Tove {n}." for n in range(8)}
    assert {passage.document for passage in whole.passages if not passage.answer_start} == {PROSE.name}


async def test_there_are_no_more_parts_than_pieces_and_one_of_pairs_alone_is_asked_its_pairs() -> None:
    made = await parts_of(100)

    assert {question.kind for one in made for question in one.questions} == {"recall", "held_out"}
    assert all(len(one.passages) == 1 for one in made)
    assert {one.answer for one in made[-1].examples} == {"It is 7 metres deep, dug by Tove 7."}
    assert made[-1].questions[-1] == Question("How deep is shaft 7?", "It is 7 metres deep, dug by Tove 7.")
