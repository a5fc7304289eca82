"""Recipes."""

import json

import pytest

from app.core.errors import InvalidValue
from app.core.recipe import Recipe


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(rank=4, learning_rate=5e-4)

    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    "fields",
    [{"rank": 0}, {"rank": 1.5}, {"rank": True}, {"rank": "8"}, {"learning_rate": float("nan")}, {"lr": 1},
     {"target": "everything"}, {"answers": "long"},
     {"passage_tokens": 32, "passage_overlap_tokens": 32}, {"epochs": 10**9}],
)  # fmt: skip
def test_a_field_that_is_unknown_or_out_of_range_is_named(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidValue, match=f"recipe.{next(iter(fields))}|passage_overlap"):
        Recipe.from_dict(fields)


def test_a_whole_number_is_a_fine_learning_rate() -> None:
    assert Recipe.from_dict({"learning_rate": 1}).learning_rate == 1
