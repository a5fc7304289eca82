"""New memories and versions as values: nothing of them is kept yet."""

import hashlib
import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ulid import ULID

from app.core.errors import InvalidValue
from app.core.guard_recipe import GuardRecipe
from app.core.lifecycle import State
from app.core.memory import DocumentRef, Memory, Version
from app.core.names import ID_BEGINNINGS, check_memory_name
from app.core.plan import TARGET_RECALL, Plan, Wish
from app.core.recipe import Recipe
from app.errors import InvalidName
from app.stores.layout import MEMORY


@dataclass(frozen=True)
class Ask:
    """What a request says of the training; None leaves it open.

    Attributes:
        recipe: fields that differ from the version before, from the preset that is named, or else from the default's;
            with `rank` or `alpha` among them no rank is planned.
    """

    recipe: dict[str, Any] | None = None
    target_recall: float | None = None
    split: bool | None = None

    def wish(self, before: Version | None = None) -> Wish:
        """Return what is wished for; what is left open is as in the version before, else the default.

        Raises:
            InvalidValue: a field of the recipe is unknown or out of range.
        """
        plan = (before.plan if before else None) or {}
        target = self.target_recall if self.target_recall is not None else plan.get("target_recall", TARGET_RECALL)
        recipe, given = self._recipe(before, plan)
        return Wish(recipe, given, target, self.split if self.split is not None else plan.get("split", True))

    def _recipe(self, before: Version | None, plan: dict[str, Any]) -> tuple[Recipe, bool]:
        """Return the recipe that is wished for, and whether its rank is its owner's."""
        fields = self.recipe or {}
        named = not {"rank", "alpha"}.isdisjoint(fields)
        if before is None or "name" in fields:
            return Recipe.from_dict(fields), named
        old = Recipe.from_dict(before.recipe)
        given = plan["rank_given"] if plan else _was_given(old, before)
        if named and not given:
            old = replace(old, rank=Recipe().rank, alpha=Recipe().alpha)  # the plan's own go together
        return Recipe.from_dict(fields, old), named or given


@dataclass(frozen=True)
class Options:
    """What may be asked for beside the documents of a new memory.

    Attributes:
        languages: each gets a guard, trained on top of the memory once that serves.
    """

    ask: Ask = field(default_factory=Ask)
    metadata: dict[str, str] = field(default_factory=dict)
    allow_duplicate: bool = False
    pinned: bool = False
    languages: tuple[str, ...] = ()


def _was_given(recipe: Recipe, before: Version) -> bool:
    """Say whether a version whose plan is lost had its rank from its owner; then nothing would have been split."""
    return not before.parts and (recipe.rank, recipe.alpha) != (Recipe().rank, Recipe().alpha)


def new_memory(tenant: str, name: str, refs: Sequence[DocumentRef], options: Options, *, kind: str = MEMORY) -> Memory:
    """Return a memory under an id that was never given before."""
    now = time.time()
    return Memory(
        id=f"{kind}_{str(ULID()).lower()}",
        tenant=tenant,
        name=name,
        content=content_of(refs),
        created_at=now,
        updated_at=now,
        pinned=options.pinned,
        metadata=options.metadata,
    )


def new_version(
    memory: Memory, refs: Sequence[DocumentRef], recipe: Recipe | GuardRecipe, plan: Plan | None = None
) -> Version:
    """Return the memory's newest version, queued."""
    now = time.time()
    return Version(
        memory_id=memory.id,
        tenant=memory.tenant,
        number=memory.latest,
        state=State.QUEUED,
        recipe=recipe.to_dict(),
        plan=plan.to_dict() if plan else None,
        documents=tuple(refs),
        created_at=now,
        updated_at=now,
    )


def content_of(refs: Sequence[DocumentRef]) -> str:
    """Return what finds a second upload of the same documents."""
    return digest_of(sorted(ref.digest for ref in refs))


def checked_name(name: str) -> str:
    """Return `name` if a memory may carry it.

    Raises:
        InvalidName: it may not; the text says what may.
    """
    try:
        return check_memory_name(name)
    except InvalidValue as error:
        raise InvalidName(str(error), "name") from error


def name_from(document: str) -> str:
    """Make a name of a file's: its stem, in the letters that names may have."""
    stem = re.sub(r"[^A-Za-z0-9 ._-]+", "-", document.rpartition(".")[0] or document).strip(" ._-")[:96]
    if stem.startswith(ID_BEGINNINGS):
        stem = stem.replace("_", "-", 1)
    return f"{stem or 'memory'} {secrets.token_hex(2)}"


def digest_of(value: object) -> str:
    """Return the sha256, in hex, of a JSON-ready value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
