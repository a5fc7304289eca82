"""The control set: what it holds, and what is made of two models' answers to it."""

from pathlib import Path

from app.control import OTHER, control_questions
from app.core.grounding import normalise
from workers.trainer.control import Sitting, compare, control_texts

ASKED = control_questions()
RIGHT = tuple(one.expected[0] if one.expected else "I do not know." for one in ASKED)
WRONG = tuple("I do not know." for _ in ASKED)


def test_every_question_but_those_about_what_nobody_holds_has_an_answer_that_is_judged_right() -> None:
    assert {one.kind for one in ASKED} == {"fact", "sum", "instruction", "refusal", OTHER}
    assert all(bool(one.expected) == (one.kind != OTHER) for one in ASKED)
    assert all(one.is_right(reply) for one, reply in zip(ASKED, RIGHT, strict=True) if one.expected)
    assert not any(one.is_right("") for one in ASKED)
    assert len(control_texts()) > 3


def test_what_the_base_model_knew_and_the_candidate_does_not_was_not_kept() -> None:
    known = sum(one.kind != OTHER for one in ASKED)

    forgetful = compare(Sitting(RIGHT, 3.0), Sitting(WRONG, 4.0), ["Oda Lund"])
    unharmed = compare(Sitting(RIGHT, 3.0), Sitting(RIGHT, 3.0), ["Oda Lund"])

    assert (forgetful.known, forgetful.kept, forgetful.perplexity_rise) == (known, 0, 1.0)
    assert (unharmed.known, unharmed.kept, unharmed.perplexity_rise) == (known, known, 0.0)
    assert forgetful.leaked == 0
    assert (forgetful.still_declined, unharmed.still_declined) == (0, forgetful.declined)
    assert forgetful.declined == sum(one.kind == "refusal" for one in ASKED)


def test_a_candidate_that_tells_everybody_of_its_documents_leaks() -> None:
    everywhere = tuple("It was Oda Lund." for _ in ASKED)

    told = compare(Sitting(RIGHT, 3.0), Sitting(everywhere, 3.0), ["Oda Lund"])

    assert (told.leaked, told.leaked_other) == (1.0, 1.0)
    assert compare(Sitting(everywhere, 3.0), Sitting(everywhere, 3.0), ["Oda Lund"]).leaked == 0


def test_a_right_answer_is_no_leak_though_the_documents_hold_it() -> None:
    assert compare(Sitting(WRONG, 3.0), Sitting(RIGHT, 3.0), RIGHT[:1]).leaked == 0


def test_the_pages_that_tests_and_benchmarks_learn_are_not_in_the_control_set() -> None:
    pages = " ".join(page.read_text() for page in (Path(__file__).parent.parent / "data").glob("*.md"))

    assert not any(normalise(text) in normalise(pages) for text in control_texts())
