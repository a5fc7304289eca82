"""The life of a version."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.core.lifecycle import OPEN, TERMINAL, State, can_become, followers

PATH = [State.QUEUED, State.PREPARING, State.TRAINING, State.EVALUATING, State.PUBLISHING, State.READY]


def test_the_way_to_ready_has_no_short_cut() -> None:
    for position, state in enumerate(PATH):
        for later in PATH[position + 2 :]:
            assert not can_become(state, later)
    assert all(can_become(*pair) for pair in pairwise(PATH))


def test_ready_is_final() -> None:
    assert followers(State.READY) == frozenset()


def test_only_an_evaluated_version_can_be_rejected() -> None:
    assert [state for state in State if can_become(state, State.REJECTED)] == [State.EVALUATING]


@given(st.sampled_from(State))
def test_a_crash_or_a_retry_leads_back_to_queued_from_everywhere_but_ready(state: State) -> None:
    assert can_become(state, State.QUEUED) == (state not in {State.QUEUED, State.READY})


@given(st.sampled_from(sorted(OPEN)))
def test_everything_open_can_be_cancelled_and_nothing_over_can(state: State) -> None:
    assert can_become(state, State.CANCELLED)
    assert not any(can_become(over, State.CANCELLED) for over in TERMINAL)
