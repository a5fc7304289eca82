"""What every recipe's fields are held to: to be known, of their type, and within a range or one of some choices."""

import typing
from collections.abc import Collection, Mapping
from typing import Any

from app.core.errors import InvalidValue

TARGETS = ("all-linear", "mlp", "attention")


def check_types(recipe: type, fields: Mapping[str, Any]) -> None:
    """Refuse fields that a recipe has not, or has of another type; a whole number will do for a float.

    Raises:
        InvalidValue: the text names the field.
    """
    types = typing.get_type_hints(recipe)
    for name, value in fields.items():
        if name not in types:
            raise InvalidValue(f"recipe.{name[:40]} is not a recipe field; fields are {', '.join(types)}.")
        expected = types[name]
        if expected is float and isinstance(value, int) and not isinstance(value, bool):
            continue
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise InvalidValue(f"recipe.{name} must be of type {expected.__name__}.")


def check_values(
    recipe: object, ranges: Mapping[str, tuple[float, float]], choices: Mapping[str, Collection[str]]
) -> None:
    """Refuse a recipe with a number out of its range, or a word that is none of its choices.

    Raises:
        InvalidValue: the text names the field.
    """
    for field, (low, high) in ranges.items():
        value = getattr(recipe, field)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InvalidValue(f"recipe.{field} must lie between {low} and {high}.")
    for field, words in choices.items():
        if getattr(recipe, field) not in words:
            raise InvalidValue(f"recipe.{field} must be one of {', '.join(words)}.")
