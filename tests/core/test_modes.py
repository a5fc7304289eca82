"""Which mode a question is answered in."""

import pytest

from app.core.modes import Signals, choose_mode, is_learned, share_found

ALL = Signals(1.0, True, learned=True)


@pytest.mark.parametrize(
    ("scores", "mode"),
    [
        ({"adapter": 0.5, "context": 0.44, "both": 0.62}, "both"),
        ({"adapter": 0.5, "context": 0.44, "both": 0.4}, "adapter"),
        ({"adapter": 0.2, "context": 0.44, "both": 0.4}, "context"),
        ({"adapter": 0.5, "context": 0.44}, "both"),  # as a rule both together win where neither is far ahead
        ({"adapter": 1.0, "context": 0.2}, "adapter"),
        ({"adapter": 0.2, "context": 0.7}, "context"),
        ({"adapter": 0.9}, "adapter"),
    ],
)
def test_the_mode_of_an_uploaded_question_is_the_one_that_was_measured_best(
    scores: dict[str, float], mode: str
) -> None:
    assert choose_mode(scores, ALL) == mode


@pytest.mark.parametrize(
    ("scores", "mode"),
    [
        ({"adapter": 0.82, "context": 0.09, "both": 0.7}, "both"),
        ({"adapter": 0.94, "context": 0.61, "both": 0.83}, "both"),
        ({"adapter": 0.9, "context": 0.2, "both": 0.3}, "adapter"),  # with passages most of it is lost
        ({"adapter": 0.6, "context": 0.7, "both": 0.5}, "context"),
    ],
)
def test_in_a_users_words_the_weights_alone_answer_if_they_are_far_ahead(scores: dict[str, float], mode: str) -> None:
    assert choose_mode(scores, Signals(1.0, True)) == mode


def test_without_passages_only_weights_that_know_answer() -> None:
    assert choose_mode({"adapter": 0.1, "context": 0.9}, Signals(None, True)) == "adapter"
    assert choose_mode({"adapter": 0.9, "context": 0.9}, Signals(None, False)) is None


def test_passages_that_hold_little_of_the_question_count_less() -> None:
    scores = {"adapter": 0.5, "context": 0.6, "both": 0.7}

    modes = [choose_mode(scores, Signals(found, True)) for found in (0.9, 0.3, 0.2, 0.0)]

    assert modes == ["both", "both", "adapter", "adapter"]


def test_weights_that_do_not_seem_to_know_count_less() -> None:
    scores = {"adapter": 0.7, "context": 0.6, "both": 0.75}

    assert choose_mode(scores, ALL) == "both"
    assert choose_mode(scores, Signals(1.0, False, learned=True)) == "context"
    assert choose_mode({"adapter": 0.7}, Signals(1.0, False)) == "both"


@pytest.mark.parametrize(("found", "mode"), [(1.0, "both"), (0.8, "both"), (0.5, "both"), (0.3, "adapter")])
def test_pairs_are_shown_for_a_question_that_is_like_theirs_and_none_of_them(found: float, mode: str) -> None:
    assert choose_mode({"adapter": 0.9}, Signals(found, True)) == mode
    assert choose_mode({"adapter": 0.9}, Signals(found, True, learned=True)) == "adapter"


@pytest.mark.parametrize(
    ("question", "learned"),
    [
        ("what is the phone of Ada", True),
        ("What is the phone of Ada Lund?", False),
        ("phone of Ada", False),
        ("What is the phone of Ad", False),
        ("What is the phone", False),
        ("Phone of room 12", True),
        ("?", False),
    ],
)
def test_a_question_is_learned_if_it_is_a_pairs_own_word_for_word(question: str, learned: bool) -> None:
    assert is_learned(question, ["", "What is the phone of Ada?", "Phone of room 12"]) is learned


def test_the_share_found_is_that_of_words_of_meaning() -> None:
    assert share_found("How long does the ferry take?", "The ferry takes long.") == pytest.approx(2 / 3)
    assert share_found("What is the?", "The ferry.") == 0
