"""Recipes."""

import json
from dataclasses import replace

import pytest

from app.core.errors import InvalidValue
from app.core.recipe import PRESETS, Recipe


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(rank=4, learning_rate=5e-4)

    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    "fields",
    [{"rank": 0}, {"rank": 1.5}, {"rank": True}, {"rank": "8"}, {"learning_rate": float("nan")}, {"lr": 1},
     {"target": "everything"}, {"answers": "long"}, {"loss_on": "prompt"}, {"focus_below": 1.5}, {"layer_share": -0.1},
     {"name": "thorugh"}, {"name": "default"}, {"name": 3},
     {"passage_tokens": 32, "passage_overlap_tokens": 32}, {"epochs": 10**9}],
)  # fmt: skip
def test_a_field_that_is_unknown_or_out_of_range_is_named(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidValue, match=f"recipe.{next(iter(fields))}|passage_overlap"):
        Recipe.from_dict(fields)


def test_a_whole_number_is_a_fine_learning_rate() -> None:
    assert Recipe.from_dict({"learning_rate": 1}).learning_rate == 1


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_had_by_its_name_and_can_be_changed(name: str) -> None:
    preset = Recipe.from_dict({"name": name})

    assert preset == replace(Recipe(name=name), **PRESETS[name]) != Recipe(name=name)
    assert Recipe.from_dict({"name": name, "epochs": 3}) == replace(preset, epochs=3, prose_epochs=3)
    assert Recipe.from_dict(preset.to_dict()) == preset


@pytest.mark.parametrize(
    ("field", "value", "other"), [("epochs", 3, 2), ("layers_from", 0.25, 0.75), ("learning_rate", 1e-4, 1e-5)]
)
def test_what_prose_has_of_its_own_is_what_was_given_for_it_else_for_all(
    field: str, value: float, other: float
) -> None:
    alone, both = Recipe.from_dict({field: value}), Recipe.from_dict({field: value, f"prose_{field}": other})

    assert getattr(alone.suited(pairs=False, prose=True), field) == value
    assert getattr(both.suited(pairs=False, prose=True), field) == other
    assert getattr(both.suited(pairs=True, prose=False), field) == value


def test_pairs_beside_prose_have_the_passes_of_pairs_and_the_layers_of_prose() -> None:
    mixed, prose = Recipe().suited(pairs=True, prose=True), Recipe().suited(pairs=False, prose=True)

    assert (mixed.epochs, mixed.layers_from, mixed.learning_rate) == (Recipe().epochs, prose.layers_from, 1e-3)
    assert mixed.suited(pairs=True, prose=True) == mixed


@pytest.mark.parametrize("fields", [{}, {"name": "balanced"}])
def test_balanced_is_the_default(fields: dict[str, str]) -> None:
    assert Recipe.from_dict(fields) == Recipe()


def test_what_a_recipe_does_not_name_is_the_default() -> None:
    assert Recipe.from_dict({"rank": 8, "epochs": 25}) == Recipe(rank=8, epochs=25, prose_epochs=25)
