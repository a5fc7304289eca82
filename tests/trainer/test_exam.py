"""Which questions a candidate is asked, and which of its parts answers them."""

from app.core.context import Shown
from workers.trainer.exam import LEAST_QUESTIONS, MAX_QUESTIONS, Exam, Question, pose


def exam(part: int, count: int) -> Exam:
    questions = [Question(f"How deep is shaft {part}x{n}?", f"{n} metres") for n in range(count)]
    return Exam(questions, [Shown(f"{one.question} {one.answer}") for one in questions])


def test_one_adapter_is_asked_all_up_to_the_limit() -> None:
    posed = pose({"one": exam(1, 80)})

    assert len(posed) == MAX_QUESTIONS
    assert {(one.own, one.picked) for one in posed} == {("one", "one")}


def test_parts_share_the_limit_evenly_but_each_is_asked_some() -> None:
    two, many = pose({f"{n}": exam(n, 80) for n in range(2)}), pose({f"{n}": exam(n, 80) for n in range(16)})

    assert [sum(one.own == name for one in two) for name in "01"] == [27, 27]
    assert {sum(one.own == str(n) for one in many) for n in range(16)} == {LEAST_QUESTIONS}
    assert all(one.own == one.picked for one in two + many)


def test_a_question_goes_to_the_part_with_the_best_passage_though_another_learned_it() -> None:
    [first] = exam(1, 1).questions
    posed = pose({"a": Exam([first], [Shown("The office is green.")]), "b": exam(1, 1)})

    assert [(one.own, one.picked) for one in posed] == [("a", "b"), ("b", "b")]
