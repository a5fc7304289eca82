"""New language guards as values: nothing of them is kept yet."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core.guard_recipe import SHIPPED, GuardRecipe
from app.core.memory import DocumentRef, Memory, Version
from app.errors import InvalidRequest
from app.languages.policies import policy_for
from app.services.drafts import Options, checked_name, new_memory, new_version
from app.stores.layout import GUARD

LATIN_LOOK_AHEAD = 16  # words enough to identify a language by, where letters do not tell it


@dataclass(frozen=True)
class Wish:
    """What a guard is asked for with.

    Attributes:
        memory: id or name of a memory to train on top of; empty for the base model.
        prompts: a user's own, in place of the shipped ones.
        recipe: fields that differ from the default's.
    """

    language: str
    name: str | None = None
    memory: str = ""
    prompts: list[str] = field(default_factory=list)
    recipe: dict[str, Any] = field(default_factory=dict)


def recipe_of(wish: Wish) -> GuardRecipe:
    """Return how a guard is trained.

    Raises:
        InvalidRequest: no guard can be trained for this language, or the recipe names another.
        InvalidValue: a field of the recipe is unknown or out of range.
    """
    _check_language(wish.language, "language")
    if wish.recipe.get("language", wish.language) != wish.language:
        raise InvalidRequest(
            f"`language` is {wish.language!r}, and `recipe.language` names another: leave the latter out.",
            "recipe.language",
        )
    ahead = {"look_ahead": LATIN_LOOK_AHEAD} if policy_for(wish.language).is_latin else {}
    return GuardRecipe.from_dict({**ahead, **wish.recipe, "language": wish.language})


def draft_guard(
    tenant: str, wish: Wish, refs: Sequence[DocumentRef] = (), below: Mapping[str, str] | None = None
) -> tuple[Memory, Version]:
    """Return a guard, as a memory of its own kind, and its only version, queued.

    Args:
        refs: the user's own prompts, where there are some.
        below: what it is trained on top of: `memory` alone until that serves, then `version` and `adapter` as well.

    Raises:
        InvalidRequest, InvalidValue, InvalidName: as `recipe_of` and names have it.
    """
    recipe = recipe_of(wish)
    metadata = {"language": wish.language, "strict": str(recipe.strict).lower(), **(below or {})}
    name = checked_name(wish.name if wish.name is not None else f"{wish.language} {secrets.token_hex(3)}")
    guard = new_memory(tenant, name, refs, Options(metadata=metadata), kind=GUARD)
    return guard, new_version(guard, refs, recipe)


def check_languages(languages: Sequence[str]) -> None:
    """Refuse languages for which a memory can get no guards.

    Raises:
        InvalidRequest: no guard can be trained for one of them, or one is named twice.
    """
    if len({*languages}) < len(languages):
        raise InvalidRequest("`options.languages` names a language twice: name each one once.", "options.languages")
    for one in languages:
        _check_language(one, "options.languages")


def check_guardable(languages: Sequence[str], partitions: int) -> None:
    """Refuse languages for a memory that will have parts.

    Raises:
        InvalidRequest: a guard is trained on top of one adapter.
    """
    if languages and partitions > 1:
        raise InvalidRequest(
            f"These documents are learned in {partitions} parts, and a guard is trained on top of one adapter: leave "
            "`options.languages` out and train a guard on the base model with POST /v1/languages.",
            "options.languages",
        )


def _check_language(language: str, param: str) -> None:
    if language not in SHIPPED:
        raise InvalidRequest(
            f"No guard can be trained for the language {language[:32]!r}: name one of {', '.join(SHIPPED)}.", param
        )


def guards_on(memory: Memory, languages: Sequence[str]) -> list[tuple[Memory, Version]]:
    """Return a guard for each language, to be trained on top of a memory once that serves.

    They are strict: whole answers in English are what a memory of English documents brings, and English-neutral, which
    counts none of it, finds nothing to mend there.
    """
    wishes = [Wish(one, recipe={"strict": True}) for one in languages]
    return [draft_guard(memory.tenant, wish, below={"memory": memory.id}) for wish in wishes]
