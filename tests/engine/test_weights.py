"""Learned weights."""

import math

import pytest

from app.core.composition import Composition
from app.core.names import AdapterName
from workers.engine.weights import learn

MEMBERS = [AdapterName("acme", f"mem_{number:026d}", 1, f"{number:012x}") for number in range(3)]
LEARNED = Composition.of("cat", MEMBERS, weights="learned")


def weights_of(composition: Composition) -> tuple[float, ...]:
    assert not isinstance(composition.weights, str)
    return composition.weights


@pytest.mark.parametrize("best", [(1.4, 1.0, 1.0), (1.0, 0.7, 1.4), (1.0, 1.0, 1.0)])
async def test_the_weights_that_gain_most_are_found(best: tuple[float, ...]) -> None:
    async def gain(trial: Composition) -> float:
        return -math.dist(weights_of(trial), best)

    assert await learn(LEARNED, gain) == pytest.approx(best)


async def test_a_trial_that_broke_is_never_chosen_and_few_are_made() -> None:
    tried: list[Composition] = []

    async def gain(trial: Composition) -> float:
        tried.append(trial)
        return -math.inf if max(weights_of(trial)) > 1 else -sum(weights_of(trial))

    assert await learn(LEARNED, gain) == pytest.approx((0.7, 0.7, 0.7))
    assert len(tried) == 7
    assert {(trial.method, trial.members) for trial in tried} == {("cat", LEARNED.members)}
