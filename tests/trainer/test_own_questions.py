"""Questions that documents ask and answer themselves, as they are learned and as the gate asks them."""

from app.core.documents import Document
from app.core.grounding import normalise
from workers.trainer.examples import named
from workers.trainer.facts import facts_of
from workers.trainer.keywords import keyword_questions
from workers.trainer.own_questions import own_questions, questions_of
from workers.trainer.passages import Passage

PAGE = """# Tidewell Rentals: questions

## How do I reset my password?
Open the app and press "New code". The code is valid for 20 minutes.

## How much is the deposit?
The deposit is 300 euros for a rowing boat.
"""
RESET = 'Open the app and press "New code". The code is valid for 20 minutes.'
DEPOSIT = "The deposit is 300 euros for a rowing boat."
TITLES = {"help.md": "Tidewell Rentals: questions"}


def document(name: str, text: str) -> Document:
    return Document(name, "prose", text, (), "0" * 64, len(text))


def passages(text: str = PAGE, name: str = "help.md") -> list[Passage]:
    half = text.index("## How much") if "## How much" in text else len(text)
    return [
        Passage(name, index, start, end, text[start:end].strip())
        for index, (start, end) in enumerate(((0, half), (half, len(text))))
        if text[start:end].strip()
    ]


def test_each_is_learned_as_it_stands_with_its_whole_answer_in_the_passage_that_answers() -> None:
    made = own_questions(questions_of([document("help.md", PAGE)], passages()), TITLES, wordings=0, seed=0)

    assert [(one.question, one.answer, one.passage, one.turns) for one in made] == [
        ("How do I reset my password?", RESET, 0, 1),
        ("How much is the deposit?", DEPOSIT, 1, 1),
    ]
    assert {one.origin for one in made} == {"asked"}


def test_further_wordings_have_some_of_its_words_take_turns_and_keep_what_tells_it_from_others() -> None:
    made = own_questions(questions_of([document("help.md", PAGE)], passages()), TITLES, wordings=12, seed=0)
    further = [one for one in made if one.turns > 1]
    words = {RESET: {"reset", "password"}, DEPOSIT: {"deposit"}}

    assert len({one.question for one in further}) == len(further) > 8
    assert all(set(normalise(one.question).split()) & words[one.answer] for one in further)
    assert any("at Tidewell Rentals?" in one.question for one in further)
    assert [one.turn for one in further if one.answer == RESET] == list(range(further[0].turns))


def test_a_question_that_two_documents_answer_differently_names_its_document() -> None:
    other = PAGE.replace("300 euros", "80 euros")
    documents = [document("help.md", PAGE), document("old.md", other)]
    made = own_questions(questions_of(documents, [*passages(), *passages(other, "old.md")]), TITLES, wordings=4, seed=0)
    asked = [one for one in made if "deposit" in one.question.casefold()]

    assert all(one.question.startswith(f'In "{one.document}": ') for one in asked)
    assert {one.answer for one in asked} == {DEPOSIT, DEPOSIT.replace("300 euros", "80 euros")}


def test_the_gate_asks_for_something_that_the_answer_names() -> None:
    held = named(own_questions(questions_of([document("help.md", PAGE)], passages()), TITLES, wordings=1, seed=1))

    assert {one.answer for one in held if one.sentence == DEPOSIT} == {"300 euros"}
    assert all(one.answer in one.sentence for one in held)


def test_no_question_is_a_fact_that_is_asked_for() -> None:
    asked = keyword_questions(passages(), TITLES, per_span=4, seed=0)

    assert not [fact for fact in facts_of(passages()) if fact.sentence.endswith("?")]
    assert not [one for one in asked if one.sentence.endswith("?")]


def test_a_script_without_spaces_has_its_questions_as_they_stand() -> None:
    text = "## どうやって払いますか？\nカードで払えます。"
    made = own_questions(questions_of([document("a.md", text)], passages(text, "a.md")), {}, wordings=12, seed=0)

    assert [(one.question, one.answer) for one in made] == [("どうやって払いますか？", "カードで払えます。")]


def test_an_answer_that_begins_as_another_does_belongs_to_the_passage_that_asks() -> None:
    text = PAGE.replace("Open the app", "Yes. Open the app").replace("The deposit is", "Yes. The **deposit** is")
    made = own_questions(questions_of([document("help.md", text)], passages(text)), TITLES, wordings=0, seed=0)

    assert [one.passage for one in made] == [0, 1]


def test_no_title_is_put_into_questions_of_another_language_nor_one_that_is_a_question() -> None:
    german = "# Bootsverleih\n\n## Wie hoch ist die Kaution?\nDie Kaution beträgt 300 Euro."
    told = questions_of([document("a.md", german)], passages(german, "a.md"))
    made = own_questions(told, {"a.md": "Bootsverleih"}, wordings=20, seed=0)
    told = questions_of([document("help.md", PAGE)], passages())
    made += own_questions(told, {"help.md": "What is it?"}, wordings=20, seed=0)

    assert not [one for one in made if " at " in one.question]
