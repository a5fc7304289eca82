"""Language guards as use-cases: accept one to be trained, find the one that applies."""

import asyncio
import hashlib
import json

from app.core.memory import DocumentRef, Memory
from app.core.names import AdapterName, is_guard_id
from app.engines.fleet import Fleet
from app.errors import GuardNotFound, InvalidRequest, MemoryNotFound, MemoryNotReady
from app.services.guard_drafts import Wish, draft_guard, recipe_of
from app.services.plan import Planner
from app.services.remember import Rememberer
from app.stores.artifacts import ArtifactStore
from app.stores.layout import GUARD
from app.stores.memories import MemoryStore
from app.stores.versions import VersionStore


class Guards:
    """Makes and finds language guards."""

    def __init__(
        self,
        memories: MemoryStore,
        versions: VersionStore,
        artifacts: ArtifactStore,
        rememberer: Rememberer,
        planner: Planner,
        *,
        fleet: Fleet,
    ) -> None:
        self._memories, self._versions, self._artifacts = memories, versions, artifacts
        self._rememberer, self._planner, self._fleet = rememberer, planner, fleet
        self._trained_on: dict[str, str] = {}  # the base model's digest by adapter, as their manifests say for good

    async def train(self, tenant: str, wish: Wish) -> str:
        """Accept a guard and queue its training; return its id.

        Raises:
            InvalidRequest: no guard can be trained for this language, or no live engine takes the rank.
            InvalidValue: a field of the recipe is unknown or out of range.
            MemoryNotFound, MemoryNotReady, NameTaken: as they say. Nothing is kept then.
        """
        # refused before a memory is looked for, whose rank does not count: a sum that is too wide is compressed
        self._planner.check_rank(recipe_of(wish).rank)
        below = await self._below(tenant, wish.memory) if wish.memory else {}
        data = json.dumps(wish.prompts, ensure_ascii=False).encode()
        digest = hashlib.sha256(data).hexdigest()
        refs = [DocumentRef("prompts", digest, "prompts", len(data))] if wish.prompts else []
        guard, version = draft_guard(tenant, wish, refs, below)

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
        if not is_guard_id(guard_id):
            raise _no_guard(guard_id)
        return await self.find(tenant, guard_id)

    async def find(self, tenant: str, name_or_id: str) -> Memory:
        """Return the guard with this id or name.

        Raises:
            GuardNotFound: the tenant has none such.
        """
        try:
            return await self._memories.find(tenant, name_or_id, GUARD)
        except MemoryNotFound as error:
            raise _no_guard(name_or_id) from error

    async def newest(self, tenant: str, language: str, adapter: str = "") -> Memory:
        """Return the newest guard for a language that serves: one trained on top of `adapter`, else on the base model.

        Raises:
            GuardNotFound: there is none, or none on a base model that engines have now.
        """
        on_base = []
        async for guard in self._memories.every(tenant, GUARD):
            if not guard.current or guard.metadata["language"] != language:
                continue
            if adapter and guard.metadata.get("adapter") == adapter:
                return guard
            if "memory" not in guard.metadata:
                on_base.append(guard)
        for guard in on_base:
            if await self._fits(guard):
                return guard
        raise GuardNotFound(
            f"No guard for language {language[:32]!r} on the base model is ready: train one with POST /v1/languages.",
            "memory.language",
        )

    async def _fits(self, guard: Memory) -> bool:
        """Say whether a guard was trained on a base model that engines have, as far as any is alive to tell."""
        served = {engine.base_digest for engine in self._fleet.engines}
        adapter, *_ = await self._versions.adapters(guard.tenant, guard.id, guard.current)
        if served and adapter not in self._trained_on:
            manifest = await asyncio.to_thread(self._artifacts.read_manifest, AdapterName.parse(adapter))
            self._trained_on[adapter] = manifest["base"]["digest"]
        return not served or self._trained_on[adapter] in served

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


def _no_guard(named: str) -> GuardNotFound:
    return GuardNotFound(f"There is no language guard {named[:64]!r}: GET /v1/languages lists all.")
