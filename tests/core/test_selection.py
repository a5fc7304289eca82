"""Who is chosen for a question, and when nobody is."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.selection import Candidate, Serving, Thresholds, calibrate, fuse, rank, shortlist

A, B, C = (Serving(f"mem_{one}", 1, (f"acme.mem_{one}.v1",), one) for one in "abc")
SCORES = st.lists(st.floats(0, 100), max_size=60)


def test_a_ranking_by_words_alone_leaves_out_what_shares_none() -> None:
    ranked = rank([A, B, C], {"mem_a": 1.0, "mem_c": 3.0})

    assert [(one.serving, one.score) for one in ranked] == [(C, 3.0), (A, 1.0)]


def test_words_and_meaning_are_joined_by_their_ranks() -> None:
    ranked = rank([A, B, C], {"mem_a": 9.0, "mem_b": 8.0}, {"mem_a": 0.1, "mem_b": 0.9, "mem_c": 0.5})

    assert [one.serving for one in ranked] == [B, A, C]
    assert fuse([["x", "y"], ["y"]]) == {"x": 1 / 61, "y": 1 / 62 + 1 / 61}


def test_who_is_below_the_threshold_is_not_asked() -> None:
    ranked = rank([A, B], {"mem_a": 5.0, "mem_b": 3.0})

    assert shortlist(ranked, Thresholds(5.0)) == []
    assert [one.serving for one in shortlist(ranked, Thresholds(4.9))] == [A]
    assert [one.serving for one in shortlist(ranked, Thresholds(1.0))] == [A, B]


def test_a_memory_far_behind_the_best_is_no_second_choice_and_few_are_asked() -> None:
    servings = [dataclasses.replace(A, memory_id=f"mem_{number}") for number in range(9)]
    scores = {one.memory_id: 10.0 - number for number, one in enumerate(servings)}

    assert len(shortlist(rank(servings, scores), Thresholds(0.0))) == 3
    assert len(shortlist(rank([A, B], {"mem_a": 10.0, "mem_b": 4.0}), Thresholds(0.0))) == 1


def test_similarity_lets_a_memory_answer_that_shares_no_word() -> None:
    thresholds = Thresholds(1.0, 0.6)

    assert thresholds.passed(Candidate(A, 0.0, 0.7))
    assert not thresholds.passed(Candidate(A, 0.5, 0.5))
    assert not Thresholds(1.0).passed(Candidate(A, 0.5, None))


@given(SCORES, SCORES)
def test_a_threshold_keeps_control_questions_below_it(own: list[float], control: list[float]) -> None:
    threshold = calibrate(own, control)

    assert sum(score <= threshold for score in control) >= 0.95 * len(control)


@given(SCORES, SCORES)
def test_no_threshold_that_keeps_them_below_loses_fewer_own_questions(own: list[float], control: list[float]) -> None:
    lost = sum(score <= calibrate(own, control) for score in own)
    kept = [t for t in [0.0, *control] if sum(score <= t for score in control) >= 0.95 * len(control)]

    assert lost == min(sum(score <= t for score in own) for t in kept)


@pytest.mark.parametrize(
    ("own", "control", "threshold"),
    [
        ([], [], 0.0),
        ([8.0], [0.0] * 20, 2.0),
        ([], [1.0, 2.0], 2.0),
        ([6.0, 9.0, 1.0], [2.0] * 20 + [50.0], 3.0),  # one of 21 may be lost
        ([6.0], [2.0] * 18 + [50.0], 50.0),  # one of 19 may not
    ],
)
def test_a_threshold_lies_a_quarter_above_what_must_abstain(
    own: list[float], control: list[float], threshold: float
) -> None:
    assert calibrate(own, control) == threshold
