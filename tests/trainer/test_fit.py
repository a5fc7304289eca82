"""The law recovered from measurements of one that is known, and finite from any."""

import dataclasses
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.capacity import PRIOR, Law, Point
from workers.trainer.fit import fit_law

TRUE = dataclasses.replace(PRIOR, knee_tokens=1500.0, reference=4e5, power=0.6, slope=4.0)
PER_RANK = 190_080
POINTS = st.builds(
    lambda rank, facts, share: Point(rank, rank * PER_RANK, facts, 21 * facts, round(share * facts)),
    rank=st.sampled_from([1, 2, 4, 16]),
    facts=st.integers(1, 5000),
    share=st.floats(0, 1),
)


def measured(rank: int, facts: int, *, noise: float = 0.0, law: Law = TRUE) -> Point:
    """Return what a training would find under a law whose knee it misses by some noise in ln(tokens)."""
    share = law.recall(21 * facts, rank * PER_RANK, shift=noise)
    return Point(rank, rank * PER_RANK, facts, 21 * facts, round(share * facts))


def fitted(points: list[Point]) -> Law:
    return fit_law(points, base="b" * 64, conditions={"epochs": 40}, fitted_at=1.0)


def test_loads_between_and_beyond_the_measured_ones_are_predicted_within_a_tenth() -> None:
    rng = random.Random(0)
    law = fitted([measured(rank, facts, noise=rng.gauss(0, 0.1)) for rank in (1, 2, 4) for facts in (24, 48, 96, 192)])

    for rank, facts in [(1, 36), (2, 70), (4, 140), (8, 200)]:
        assert law.recall(21 * facts, rank * PER_RANK) == pytest.approx(measured(rank, facts).recall, abs=0.1)
    assert (law.points, law.base, law.conditions, law.fitted_at) == (12, "b" * 64, {"epochs": 40}, 1.0)


def test_points_that_scatter_widen_the_range() -> None:
    def spread(sigma: float) -> float:
        rng = random.Random(1)
        places = [(rank, facts) for rank in (1, 2, 4) for facts in (24, 48, 96, 192)]
        return fitted([measured(rank, facts, noise=rng.gauss(0, sigma)) for rank, facts in places]).spread

    assert spread(0.0) < spread(0.3) < spread(0.8)


def test_a_law_of_many_points_is_surer_than_one_of_few() -> None:
    few = fitted([measured(2, 48)])
    many = fitted([measured(rank, facts) for rank in (1, 2, 4) for facts in (24, 48, 72, 96, 192)])

    assert many.spread < few.spread
    assert many.power_spread < few.power_spread


def test_where_everything_was_recalled_the_knee_lies_beyond_it() -> None:
    law = fitted([Point(rank, rank * PER_RANK, 48, 1000, 48) for rank in (1, 2, 4)])

    assert law.recall(1000, PER_RANK) > 0.9
    assert math.isfinite(law.knee_tokens)


@settings(deadline=None, max_examples=60)
@given(st.lists(POINTS, min_size=1, max_size=12))
def test_any_measurements_give_a_law_that_is_finite_and_falls(points: list[Point]) -> None:
    law = fitted(points)

    numbers = [law.knee_tokens, law.reference, law.power, law.slope, law.spread, law.power_spread]
    assert all(math.isfinite(number) for number in numbers)
    assert 0 <= law.power <= 1
    assert min(law.knee_tokens, law.slope, law.spread) > 0
    assert law.power_spread >= 0
