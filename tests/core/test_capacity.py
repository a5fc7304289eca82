"""Parameters and recall: what holds for every law, shape and load."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.capacity import PRIOR, BaseShape, Law, LinearLayers
from app.core.errors import InvalidValue
from app.core.fields import TARGETS
from app.core.recipe import Recipe
from tests.core.laws import laws
from tests.factories import SHAPE

loads = st.floats(1, 1e7)
sizes = st.integers(1, 10**9)


@pytest.mark.parametrize(
    ("target", "parameters"), [("mlp", 3_041_280), ("attention", 1_843_200), ("all-linear", 4_884_480)]
)
def test_parameters_are_those_of_the_models_own_layers(target: str, parameters: int) -> None:
    recipe = Recipe(target=target, layers_from=0)

    assert SHAPE.lora_parameters(16, recipe) == parameters
    assert SHAPE.lora_parameters(16, dataclasses.replace(recipe, layers_from=0.5)) == parameters / 2


@given(st.integers(1, 512), st.sampled_from(TARGETS))
def test_parameters_grow_in_line_with_rank_and_add_up_over_places(rank: int, target: str) -> None:
    both = SHAPE.lora_parameters(rank, Recipe()) + SHAPE.lora_parameters(rank, Recipe(target="attention"))

    assert SHAPE.lora_parameters(rank, Recipe(target=target)) == rank * SHAPE.lora_parameters(1, Recipe(target=target))
    assert SHAPE.lora_parameters(rank, Recipe(target="all-linear")) == both


@pytest.mark.parametrize("layers", [SHAPE.layers[:4], ()], ids=["attention alone", "none"])
def test_a_target_that_the_model_has_no_layers_for_is_named(layers: tuple[LinearLayers, ...]) -> None:
    shape = dataclasses.replace(SHAPE, layers=layers)

    with pytest.raises(InvalidValue, match="no mlp layers"):
        shape.lora_parameters(16, Recipe())


@given(laws, loads, st.floats(1, 100), sizes)
def test_more_tokens_never_promise_more_recall(law: Law, tokens: float, more: float, parameters: int) -> None:
    assert law.recall(tokens * more, parameters) <= law.recall(tokens, parameters)


@given(laws, loads, sizes, st.integers(0, 10**9))
def test_more_parameters_never_promise_less_recall(law: Law, tokens: float, parameters: int, more: int) -> None:
    assert law.recall(tokens, parameters + more) >= law.recall(tokens, parameters)


@given(laws, loads, sizes)
def test_the_recall_lies_within_its_range(law: Law, tokens: float, parameters: int) -> None:
    low, high = law.recall_range(tokens, parameters)

    assert 0 <= low <= law.recall(tokens, parameters) <= high <= 1


@given(laws, st.floats(0.01, 0.99), sizes)
def test_the_most_tokens_at_a_recall_give_that_recall(law: Law, recall: float, parameters: int) -> None:
    assert law.recall(law.most_tokens(recall, parameters), parameters) == pytest.approx(recall, abs=1e-6)


@pytest.mark.parametrize(("share", "recall"), [(0.1, 0.95), (1.0, 0.05)])
def test_the_prior_is_near_perfect_below_a_tenth_of_a_token_and_collapses_above_one_token_a_parameter(
    share: float, recall: float
) -> None:
    for parameters in (10**5, 10**7, 10**9):
        assert PRIOR.recall(share * parameters, parameters) == pytest.approx(recall)


def test_a_recipe_whose_layers_are_none_that_the_target_has_is_refused() -> None:
    shape = dataclasses.replace(SHAPE, layers=(*SHAPE.layers[:4], dataclasses.replace(SHAPE.layers[4], layers=(0, 1))))

    assert shape.lora_parameters(1, Recipe(layers_from=0)) == 2 * (576 + 1536)
    with pytest.raises(InvalidValue, match="no mlp layers"):
        shape.lora_parameters(1, Recipe(layers_from=0.5))


def test_a_shape_survives_json() -> None:
    assert BaseShape.from_dict(json.loads(json.dumps(SHAPE.to_dict()))) == SHAPE
