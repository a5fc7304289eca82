"""A guard's recipe refuses what cannot be meant."""

from typing import Any

import pytest

from app.core.errors import InvalidValue
from app.core.guard_recipe import GuardRecipe


def test_a_recipe_survives_being_saved() -> None:
    recipe = GuardRecipe(language="ko", strict=True, steps=7)

    assert GuardRecipe.from_dict(recipe.to_dict()) == recipe
    assert GuardRecipe.from_dict({"language": "ko", "beta": 1}).beta == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"language": "ko", "N": 3}, "recipe.N is not a recipe field"),
        ({"language": "ko", "candidates": 1}, "between 2"),
        ({"language": "ko", "candidates": "many"}, "of type int"),
        ({"language": "ko", "strict": 1}, "of type bool"),
        ({"language": "ko", "steps": True}, "of type int"),
        ({"language": "ko", "kl": "k1"}, "one of k3, exact"),
        ({"strict": True}, "name the language"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused_with_a_sentence(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidValue, match=text):
        GuardRecipe.from_dict(fields)
