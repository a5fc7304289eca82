"""Language guards as use-cases: accept one to be trained, find the one that applies."""

import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from ulid import ULID

from app.core.guard_recipe import SHIPPED, GuardRecipe
from app.core.lifecycle import State
from app.core.memory import DocumentRef, Memory, Version
from app.errors import GuardNotFound, InvalidRequest, MemoryNotFound, MemoryNotReady
from app.languages.policies import policy_for
from app.services.drafts import checked_name, content_of
from app.services.remember import Rememberer
from app.stores.artifacts import ArtifactStore
from app.stores.layout import GUARD
from app.stores.memories import MemoryStore
from app.stores.versions import VersionStore

LATIN_LOOK_AHEAD = 16  # words enough to identify a language by, where letters do not tell it
_PAGE = 100


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


class Guards:
    """Makes and finds language guards."""

    def __init__(
        self, memories: MemoryStore, versions: VersionStore, artifacts: ArtifactStore, rememberer: Rememberer
    ) -> None:
        self._memories, self._versions, self._artifacts = memories, versions, artifacts
        self._rememberer = rememberer

    async def train(self, tenant: str, wish: Wish) -> str:
        """Accept a guard and queue its training; return its id.

        Raises:
            InvalidRequest: no guard can be trained for this language.
            InvalidValue: a field of the recipe is unknown or out of range.
            MemoryNotFound, MemoryNotReady, NameTaken: as they say. Nothing is kept then.
        """
        recipe = _recipe(wish)
        metadata = {"language": wish.language, "strict": str(recipe.strict).lower()}
        if wish.memory:
            metadata |= await self._below(tenant, wish.memory)
        data = json.dumps(wish.prompts, ensure_ascii=False).encode()
        digest = hashlib.sha256(data).hexdigest()
        refs = [DocumentRef("prompts", digest, "prompts", len(data))] if wish.prompts else []
        guard, version = _drafted(tenant, wish, recipe, refs, metadata)

        def keep() -> None:
            for ref in refs:
                content = {"prompts": wish.prompts}
                self._artifacts.write_document(tenant, guard.id, ref.digest, data, content)

        return await self._rememberer.accept(guard, version, keep, unique_content=False, once=None)

    async def get(self, tenant: str, guard_id: str) -> Memory:
        """Return one guard.

        Raises:
            GuardNotFound: the tenant has none with this id.
        """
        if guard_id.startswith("lng_"):
            try:
                return await self._memories.get(tenant, guard_id)
            except MemoryNotFound:
                pass
        raise GuardNotFound(f"There is no language guard {guard_id[:64]!r}: GET /v1/languages lists all.")

    async def newest(self, tenant: str, language: str, adapter: str = "") -> Memory:
        """Return the newest guard for a language that serves: one trained on top of `adapter`, else on the base model.

        Raises:
            GuardNotFound: there is none.
        """
        after, more, on_base = "", True, None
        while more:
            page, more = await self._memories.page(tenant, limit=_PAGE, after=after, kind=GUARD)
            for guard in (one for one in page if one.current and one.metadata["language"] == language):
                if adapter and guard.metadata.get("adapter") == adapter:
                    return guard
                if on_base is None and "memory" not in guard.metadata:
                    on_base = guard
            after = page[-1].id if page else ""
        if on_base:
            return on_base
        raise GuardNotFound(
            f"No guard for the language {language[:32]!r} is ready: train one with POST /v1/languages.",
            "memory.language",
        )

    async def _below(self, tenant: str, name: str) -> dict[str, str]:
        memory = await self._memories.find(tenant, name)
        if not memory.current:
            raise MemoryNotReady(f"Memory {memory.name!r} does not serve yet: train a guard when it does.", "memory")
        adapter, *others = await self._versions.adapters(tenant, memory.id, memory.current)
        if others:
            raise InvalidRequest(
                f"Memory {memory.name!r} has {len(others) + 1} parts, and a guard is trained on top of one adapter: "
                "leave memory out for a guard on the base model.",
                "memory",
            )
        return {"memory": memory.id, "version": str(memory.current), "adapter": adapter}


def _recipe(wish: Wish) -> GuardRecipe:
    if wish.language not in SHIPPED:
        raise InvalidRequest(
            f"No guard can be trained for the language {wish.language[:32]!r}: name one of {', '.join(SHIPPED)}.",
            "language",
        )
    ahead = {"look_ahead": LATIN_LOOK_AHEAD} if policy_for(wish.language).is_latin else {}
    return GuardRecipe.from_dict({**ahead, **wish.recipe, "language": wish.language})


def _drafted(
    tenant: str, wish: Wish, recipe: GuardRecipe, refs: list[DocumentRef], metadata: dict[str, str]
) -> tuple[Memory, Version]:
    """Return a guard, as a memory of its own kind, and its only version, queued."""
    now = time.time()
    name = checked_name(wish.name if wish.name is not None else f"{wish.language} {secrets.token_hex(3)}")
    guard = Memory(
        id=f"{GUARD}_{str(ULID()).lower()}",
        tenant=tenant,
        name=name,
        content=content_of(refs),
        created_at=now,
        updated_at=now,
        metadata=metadata,
    )
    version = Version(
        memory_id=guard.id,
        tenant=tenant,
        number=1,
        state=State.QUEUED,
        recipe=recipe.to_dict(),
        documents=tuple(refs),
        created_at=now,
        updated_at=now,
    )
    return guard, version
