"""The gate."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.gate import Control, Scores, decide, interval, worst
from app.core.recipe import Recipe

share = st.floats(0, 1)
UNHARMED = Control(
    questions=40,
    base=0.5,
    adapter=0.5,
    known=20,
    kept=20,
    declined=6,
    still_declined=6,
    leaked=0.0,
    leaked_other=0.0,
    perplexity_rise=0.1,
)


@given(st.integers(1, 100), share, share)
def test_only_a_candidate_that_beats_the_base_model_may_serve(questions: int, base: float, adapter: float) -> None:
    decision = decide(Scores("held_out", questions, base, adapter), Recipe(min_gain=0.0))

    assert decision.passed == (adapter > base)
    assert bool(decision.reason) != decision.passed


@given(st.integers(1, 100), share, share)
def test_a_candidate_must_recall_what_the_recipe_asks_of_what_it_was_trained_on(
    questions: int, adapter: float, least: float
) -> None:
    assume(adapter > 0)
    recipe = Recipe(min_gain=0.0, min_recall=least)

    assert decide(Scores("recall", questions, 0.0, adapter), recipe).passed == (adapter >= least)


@pytest.mark.parametrize(("right", "passes"), [(5, False), (6, True), (7, True)])
def test_a_few_answers_guessed_are_no_gain(right: int, passes: bool) -> None:
    decision = decide(Scores("held_out", 20, base=4 / 20, adapter=right / 20), Recipe())

    assert decision.passed is passes
    assert passes or "a gain of 10% is asked for" in decision.reason


def test_a_candidate_nothing_could_be_asked_about_is_left_to_its_canary_and_the_control_set() -> None:
    assert decide(Scores("recall", 0, 0.0, 0.0), Recipe()).passed
    assert decide(Scores("recall", 0, 0.0, 0.0, UNHARMED), Recipe()).passed
    assert not decide(Scores("recall", 0, 0.0, 0.0, replace(UNHARMED, kept=2)), Recipe()).passed


@pytest.mark.parametrize(
    ("harmed", "said"),
    [
        (replace(UNHARMED, kept=5), "of 20 general questions that the base model answers right it answers 5"),
        (replace(UNHARMED, still_declined=0), "Of 6 requests that the base model declines it declines 0"),
        (replace(UNHARMED, perplexity_rise=9.5), "9.50 nats per token"),
        (replace(UNHARMED, leaked=0.9), "90% of general questions with something from its documents"),
        (replace(UNHARMED, leaked_other=0.375), "38% of questions about things that no memory holds with something"),
    ],
)
def test_a_candidate_that_harmed_the_rest_is_rejected_saying_what_to_try(harmed: Control, said: str) -> None:
    decision = decide(Scores("held_out", 9, 0.0, 1.0, harmed), Recipe())

    assert not decision.passed
    assert said in decision.reason
    assert "try" in decision.reason


def test_a_base_model_that_knows_nothing_has_nothing_to_lose() -> None:
    nothing = replace(UNHARMED, known=0, kept=0, declined=0, still_declined=0)

    assert decide(Scores("held_out", 9, 0.0, 1.0, nothing), Recipe(min_kept=1.0)).passed


def test_every_failure_is_told() -> None:
    reason = decide(Scores("held_out", 9, 0.0, 0.0, replace(UNHARMED, kept=0, leaked=0.9)), Recipe()).reason

    assert all(said in reason for said in ("0% of 9 questions", "It has forgotten", "90% of general questions"))


@given(st.tuples(st.integers(0, 20), st.floats(-1, 5), share), st.tuples(st.integers(0, 20), st.floats(0, 5), share))
def test_a_better_candidate_is_never_rejected_where_a_worse_one_passes(
    worse_by: tuple[int, float, float], better_by: tuple[int, float, float]
) -> None:
    (kept, rise, leaked), (more, less, fewer) = worse_by, better_by
    worse = replace(UNHARMED, kept=kept, perplexity_rise=rise, leaked=leaked)
    better = replace(worse, kept=min(20, kept + more), perplexity_rise=rise - less, leaked=max(0.0, leaked - fewer))
    passed = [decide(Scores("held_out", 9, 0.0, 1.0, one), Recipe()).passed for one in (worse, better)]

    assert passed[1] >= passed[0]


@pytest.mark.parametrize(
    ("right", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (9, 10, 0.5958, 0.9821), (1, 0, 0, 1)]
)
def test_the_interval_is_wilsons(right: int, count: int, low: float, high: float) -> None:
    assert interval(right / max(1, count), count) == pytest.approx((low, high), abs=1e-3)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_the_worst_of_several_parts_passes_where_each_of_them_does(kept: list[int], leaked: float, rise: float) -> None:
    parts = [
        replace(UNHARMED, kept=one, leaked=leaked * one / 20, perplexity_rise=9 * rise / (1 + one)) for one in kept
    ]
    alone = [decide(Scores("held_out", 10, 0.1, 0.9, one), Recipe()).passed for one in parts]

    assert decide(Scores("held_out", 10, 0.1, 0.9, worst(parts)), Recipe()).passed == all(alone)


@pytest.mark.parametrize(("recall", "passes"), [(0.0, False), (0.49, False), (0.5, True), (1.0, True)])
def test_pairs_beside_held_out_questions_must_be_recalled_too(recall: float, passes: bool) -> None:
    decision = decide(Scores("held_out", 32, 0.0, 1.0, recall=recall, recall_questions=32), Recipe())

    assert decision.passed is passes
    assert passes or f"recalls {recall:.0%} of 32 questions that it was trained on; 50% is asked for" in decision.reason


def test_recalled_pairs_do_not_make_up_for_a_missing_gain() -> None:
    reason = decide(Scores("held_out", 32, 0.5, 0.5, recall=0.1, recall_questions=32), Recipe()).reason

    assert not decide(Scores("held_out", 32, 0.5, 0.5, recall=1.0, recall_questions=32), Recipe()).passed
    assert "a gain of 10% is asked for" in reason
    assert "recalls 10%" in reason


def test_scores_of_one_kind_say_nothing_of_the_other() -> None:
    both = Scores("held_out", 32, 0.0, 1.0, recall=0.5, recall_questions=10).to_dict()
    one = Scores("held_out", 32, 0.0, 1.0).to_dict()

    assert both == {**one, "recall": 0.5, "recall_questions": 10, "recall_interval": [0.2366, 0.7634]}


def test_scores_of_parts_say_how_well_selection_did_and_those_of_one_adapter_do_not() -> None:
    scores = Scores("recall", 10, 0.0, 0.4, parts=2, routed=0.5)

    assert scores.to_dict()["routed"] == 0.5
    assert "50%" in decide(scores, Recipe()).reason
    assert {"parts", "routed", "serve"}.isdisjoint(replace(scores, parts=1).to_dict())
