"""A guard serves that leaves its language less often and has left the rest alone."""

from dataclasses import replace
from typing import Any

import pytest

from app.core.gate import Control
from app.core.guard_gate import GuardScores, Side, decide_guard
from app.core.guard_recipe import GuardRecipe

RECIPE = GuardRecipe(language="ko")
BENCHMARK = {"lpr": 0.9, "wpr": 0.8, "lcpr": 0.847, "answers": 100, "scorable": 90}


def figures(rpr: float | None, **more: Any) -> dict[str, Any]:
    plain = {"empty": 0.0, "unscorable": 0.0, "english": 0.0, "mean_characters": 100.0, "distinct": 0.8, "ended": 0.5}
    return {"rpr": rpr, "scorable": 100, "answers": 100, **plain, **more}


def scores(after: dict[str, Any], **more: Any) -> GuardScores:
    control = Control(40, 0.5, 0.5, 20, 20, 0, 0, 0.0, 0.0, 0.0)
    before = Side(figures(0.8), figures(0.6), BENCHMARK)
    made = GuardScores("ko", False, before, Side(after, figures(0.6), BENCHMARK), None, 0.0, 0.0, 16, 0.5, 0.5, control)
    return replace(made, **more)


def test_a_guard_that_lowers_confusion_and_moves_nothing_else_serves() -> None:
    assert decide_guard(scores(figures(0.9)), RECIPE).passed


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (scores(figures(0.8)), "80% of 100 answers, and without it in 80%"),
        (scores(figures(None)), "No answer holds a word"),
        (scores(figures(0.9, empty=0.2)), "20% of its answers are empty"),
        (scores(figures(0.9, english=0.1)), "wholly English"),
        (scores(figures(0.9, mean_characters=60.0)), "length went from 100.00 to 60.00"),
        (scores(figures(0.9, distinct=0.4)), "diversity"),
        (scores(figures(0.9, ended=0.2)), "come to an end went from 0.50 to 0.20"),
        (scores(figures(0.9, ended=0.8)), "come to an end went from 0.50 to 0.80"),
        (scores(figures(0.9), clean_rise=0.2), "plain text in ko 0.200 nats"),
        (scores(figures(0.9), english_rise=0.2), "plain text in English"),
        (scores(figures(0.9), requested_after=0.0), "foreign text 0% are answered with some"),
        (scores(figures(0.9), control=Control(40, 0.5, 0.1, 20, 4, 0, 0, 0.0, 0.0, 0.0)), "it answers 4"),
        (scores(figures(0.9), is_strict=True), "60% of 100 answers"),
    ],
)
def test_a_guard_that_harms_is_refused_with_its_figures(made: GuardScores, text: str) -> None:
    decision = decide_guard(made, RECIPE)

    assert not decision.passed
    assert text in decision.reason


def test_a_share_of_few_answers_may_move_by_chance() -> None:
    few = Side(figures(0.8, ended=7 / 108, answers=108), figures(0.6), BENCHMARK)

    assert decide_guard(scores(figures(0.9, ended=5 / 108, answers=108), before=few), RECIPE).passed
    assert not decide_guard(scores(figures(0.9, ended=50 / 108, answers=108), before=few), RECIPE).passed


def test_foreign_text_that_is_asked_for_is_kept_to_the_recipes_share() -> None:
    fewer = scores(figures(0.9), requested_before=10 / 17, requested_after=4 / 17, requested=17)

    assert decide_guard(fewer, RECIPE).passed
    assert not decide_guard(fewer, replace(RECIPE, min_kept=1.0)).passed


def test_shares_are_told_with_their_intervals() -> None:
    told = scores(figures(0.9)).to_dict()

    low, high = told["after"]["neutral"]["rpr_interval"]
    assert low < 0.9 < high
    assert told["after"]["benchmark"] == BENCHMARK
