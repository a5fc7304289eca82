"""The canary's verdict."""

import json

import pytest

from app.core.canary import Canary, judge

CANARY = Canary((1, 2), (3, 4), adapter_logprobs=(-0.1, -0.2), base_logprobs=(-4.0, -5.0))


def test_the_trainers_own_scores_pass() -> None:
    assert judge(CANARY, (-0.12, -0.19)).passed


@pytest.mark.parametrize(
    ("observed", "what"), [((-4.0, -5.0), "a no-op"), ((-1.5, -3.0), "another adapter"), ((-0.1,), "a short reply")]
)
def test_base_scores_other_scores_and_missing_scores_fail(observed: tuple[float, ...], what: str) -> None:
    verdict = judge(CANARY, observed)

    assert not verdict.passed, what
    assert verdict.reason


def test_an_adapter_that_does_nothing_fails_even_when_the_scores_agree() -> None:
    same = Canary((1,), (2,), adapter_logprobs=(-1.0,), base_logprobs=(-1.0,))

    assert not judge(same, (-1.0,)).passed


def test_a_canary_survives_json() -> None:
    assert Canary.from_dict(json.loads(json.dumps(CANARY.to_dict()))) == CANARY
