"""The gate."""

from hypothesis import given
from hypothesis import strategies as st

from app.core.gate import Scores, decide

share = st.floats(0, 1)


@given(st.integers(1, 100), share, share)
def test_only_a_candidate_that_beats_the_base_model_may_serve(questions: int, base: float, adapter: float) -> None:
    decision = decide(Scores("held_out", questions, base, adapter))

    assert decision.passed == (adapter > base)
    assert bool(decision.reason) != decision.passed


@given(st.integers(1, 100), share)
def test_a_candidate_must_recall_half_of_what_it_was_trained_on(questions: int, adapter: float) -> None:
    assert decide(Scores("recall", questions, 0.0, adapter)).passed == (adapter >= 0.5)


def test_a_candidate_nothing_could_be_asked_about_is_left_to_its_canary() -> None:
    assert decide(Scores("recall", 0, 0.0, 0.0)).passed
