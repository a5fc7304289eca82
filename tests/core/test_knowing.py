"""The first token tells whether an adapter knows."""

import math

from app.core.knowing import FirstToken, compare

BASE = FirstToken({"The": math.log(0.3), "It": math.log(0.3), "A": math.log(0.3)})


def spread(tokens: int) -> FirstToken:
    return FirstToken({f"t{number}": math.log(1 / tokens) for number in range(tokens)})


def test_entropy_counts_what_is_not_listed_as_one_outcome() -> None:
    assert math.isclose(FirstToken({"a": math.log(0.5)}).entropy, math.log(2))
    assert math.isclose(spread(8).entropy, math.log(8))
    assert FirstToken({"a": 0.0}).entropy == 0


def test_an_adapter_that_is_sure_knows() -> None:
    assert compare(FirstToken({"603": math.log(0.99), "705": math.log(0.01)}), BASE).knows


def test_one_that_is_not_sure_but_has_learned_to_begin_so_knows() -> None:
    found = compare(FirstToken({**spread(20).logprobs, "t0": math.log(0.4)}), FirstToken({"t0": math.log(0.1)}))

    assert found.entropy > 2
    assert found.knows


def test_one_that_guesses_as_the_base_model_does_knows_nothing() -> None:
    assert not compare(spread(20), spread(20)).knows


def test_a_token_that_the_base_model_does_not_list_is_at_most_as_likely_as_the_least_it_lists() -> None:
    assert math.isclose(compare(FirstToken({"603": 0.0}), BASE).gain, -math.log(0.3))
