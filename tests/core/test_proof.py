"""What a composite must show before it serves."""

import math

import pytest

from app.core.proof import Proof, Scores, judge_composite

GOOD = Scores(base=(-3.0, -3.0), composite=(-1.0, -1.0))
WEAK = Scores(base=(-3.0, -3.0), composite=(-3.2, -3.2))
LOST = Scores(base=(-3.0, -3.0), composite=(-9.0, -9.0))
SAME = Scores(base=(-3.0, -3.0), composite=(-3.0, -3.01))
TEXT = Scores(base=(-2.0,), composite=(-2.1,))
UNREADABLE = Scores(base=(-3.0,), composite=(math.nan,))


@pytest.mark.parametrize("members", [[GOOD], [GOOD, WEAK]])
def test_one_that_knows_its_members_and_still_writes_passes(members: list[Scores]) -> None:
    assert judge_composite(Proof(members, TEXT)).passed


@pytest.mark.parametrize(
    ("proof", "says"),
    [
        (Proof([SAME, SAME], TEXT), "hardly differs"),
        (Proof([GOOD, LOST], TEXT), "6.00 nats"),
        (Proof([GOOD], Scores(base=(-2.0,), composite=(-4.0,))), "plain text is 2.00"),
        (Proof([UNREADABLE], TEXT), "differs"),
        (Proof([GOOD, UNREADABLE], TEXT), "member"),
        (Proof([GOOD], UNREADABLE), "plain text"),
    ],
)
def test_one_that_broke_is_refused_with_the_figure(proof: Proof, says: str) -> None:
    verdict = judge_composite(proof)

    assert not verdict.passed
    assert says in verdict.reason


def test_a_composite_may_lose_as_much_plain_text_as_its_worst_member_and_little_more() -> None:
    worse = Scores(base=(-2.0,), composite=(-3.4,))

    assert not judge_composite(Proof([GOOD], worse)).passed
    assert judge_composite(Proof([GOOD], worse, text_rise=1.0)).passed
    assert not judge_composite(Proof([GOOD], worse, text_rise=0.5)).passed
    assert judge_composite(Proof([GOOD], TEXT, text_rise=-5.0)).passed


def test_the_figures_are_losses_against_the_base() -> None:
    assert Proof([GOOD, LOST], TEXT).to_dict() == {"members": [-2.0, 6.0], "text": 0.1}
