"""What a request is about: the base model or one memory's current version, and how to use it."""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.composition import Composition
from app.core.memory import Memory
from app.core.modes import Mode, RequestMode
from app.core.names import BASE, AdapterName
from app.errors import (
    GuardNotFound,
    InvalidRequest,
    MemoryNotFound,
    MemoryNotReady,
    ModelNotFound,
    UnsupportedParameter,
)
from app.services.compose import ComposeOptions, check_count, composition_of
from app.services.languages import Guards
from app.stores.memories import MemoryStore
from app.stores.versions import VersionStore

MOST_IDS = 1000
Ids = Annotated[list[str], Field(json_schema_extra={"maxItems": MOST_IDS})]  # shown; `parse` says it in a sentence


class Extension(BaseModel):
    """The `memory` object of a request: which memory answers, and from what.

    Attributes:
        ids: several, or `auto` for all, to choose from.
        explain: whether the reply says who was considered, and why.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: Ids | Literal["auto"] = Field(default_factory=list)
    mode: RequestMode = "adapter"
    language: str | None = None
    compose: ComposeOptions | None = None
    explain: bool = False

    @property
    def chooses(self) -> bool:
        """Whether the memory is chosen by the question."""
        return self.ids == "auto" or (len(self.ids) > 1 and self.compose is None)

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read the object.

        Raises:
            InvalidRequest: a field is unknown or of the wrong type.
            UnsupportedParameter: this server does not do that yet.
        """
        try:
            extension = cls.model_validate(value if value is not None else {})
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(["memory", *map(str, first["loc"])])
            raise InvalidRequest(f"{place}: {first['msg']}.", place) from error
        if extension.language is not None and extension.compose:
            raise UnsupportedParameter(
                "memory.language goes with the base model or one memory: leave out memory.compose.", "memory.language"
            )
        if extension.ids == "auto" and extension.compose:
            raise InvalidRequest("memory.compose takes named memories: list them in memory.ids.", "memory.ids")
        if len(extension.ids) > MOST_IDS:
            raise InvalidRequest(f"memory.ids holds more than {MOST_IDS} memories: send fewer, or auto.", "memory.ids")
        return extension


class Target(BaseModel):
    """Where an answer comes from.

    Attributes:
        asked: what the client calls it.
        adapter: the engine's name for the memory's current version, or the part of it that was picked, or of the
            composite; empty for the base model.
        adapters: of a memory that one, or all parts.
        part: which of them was picked, from 1; None where there is one.
        score: selection's, where the memory was chosen by it.
        members: of a composite, in the order of its recipe.
        guard: what answers in mode `context` in place of the bare base model.
    """

    model_config = ConfigDict(frozen=True)

    asked: str
    mode: Mode = "adapter"
    memory_id: str = ""
    version: int = 0
    adapter: str = ""
    adapters: tuple[str, ...] = ()
    part: int | None = None
    score: float | None = None
    composition: Composition | None = None
    members: tuple["Target", ...] = ()
    guard: "Target | None" = None

    def picking(self, place: int) -> Self:
        """Return the target with one of its parts picked."""
        if len(self.adapters) < 2:
            return self
        return self.model_copy(update={"adapter": self.adapters[place], "part": place + 1})

    @property
    def parts(self) -> tuple[Self, ...]:
        """The target once for each of its adapters."""
        return tuple(self.picking(place) for place in range(len(self.adapters)))

    @property
    def used(self) -> tuple["Target", ...]:
        """The memories and guards that answer, none for the base model."""
        own = self.members or ((self,) if self.adapter else ())
        return (*own, self.guard) if self.guard else own

    @property
    def served(self) -> str:
        """The engine's name of the model that runs."""
        return self.adapter_asked or BASE

    @property
    def adapter_asked(self) -> str | None:
        """The adapter that an engine must hold; None where the base model answers."""
        if self.guard:
            return self.guard.adapter
        return self.adapter if self.adapter and self.mode != "context" else None


class Resolver:
    """Maps what a client names to what serves it now: one read of the registry, nothing cached."""

    def __init__(self, memories: MemoryStore, versions: VersionStore, guards: Guards) -> None:
        self._memories, self._versions, self._guards = memories, versions, guards

    async def resolve(self, tenant: str, model: object, extension: Extension) -> Target:
        """Find the target of a request.

        Raises:
            InvalidRequest: `model` is not a name, or contradicts the extension.
            ModelNotFound: there is no such memory; never answered by the base model instead.
            MemoryNotReady: it has no version that serves yet.
        """
        if not isinstance(model, str) or not model:
            raise InvalidRequest("Name a `model`: `base`, or a memory's or guard's id or name.", "model")
        if len(extension.ids) > 1:
            return await self._composite(tenant, model, extension)
        named = extension.ids[0] if extension.ids else model
        if extension.ids and model not in {BASE, named}:
            raise InvalidRequest(
                "`model` and `memory.ids` name two things: leave one out or set model to base.", "model"
            )
        if named == BASE and not extension.ids:
            if extension.mode != "adapter" or extension.compose:
                what = "memory.compose" if extension.compose else f"Mode {extension.mode}"
                raise InvalidRequest(f"{what} needs a memory: name one as model or in memory.ids.", "memory.ids")
            return Target(asked=model)
        target = await self._one(tenant, named, model, extension)
        if extension.compose:  # of one memory: that memory, but a recipe that makes no sense is refused all the same
            composition_of([target.adapters[:1]], extension.compose)
        return target

    async def _one(self, tenant: str, named: str, model: str, extension: Extension) -> Target:
        mode: Mode = "adapter" if extension.mode == "auto" else extension.mode
        try:
            return await self._of_memory(tenant, named, model, mode)
        except ModelNotFound:
            if extension.ids:
                raise
            return await self._of_guard(tenant, model, extension)

    async def _composite(self, tenant: str, model: str, extension: Extension) -> Target:
        assert extension.compose is not None, "several ids without a recipe are chosen from"
        check_count(extension.ids)
        if model != BASE:
            raise InvalidRequest("`model` must be base where memory.ids names several memories.", "model")
        if extension.mode != "adapter":
            raise UnsupportedParameter(f"Mode {extension.mode} takes one memory: use adapter.", "memory.mode")
        targets = [await self._of_memory(tenant, named, model, "adapter") for named in extension.ids]
        composition = composition_of([target.adapters for target in targets], extension.compose)
        parts = [part for target in targets for part in target.parts]
        members = tuple(sorted(parts, key=lambda part: part.adapter))
        return Target(asked=model, adapter=str(composition.name), composition=composition, members=members)

    async def _of_memory(self, tenant: str, named: str, model: str, mode: Mode) -> Target:
        memory = await self.memory(tenant, named)
        adapters = await self._versions.adapters(tenant, memory.id, memory.current)
        own = {"memory_id": memory.id, "version": memory.current, "adapter": adapters[0], "adapters": adapters}
        return Target(asked=model, mode=mode, **own)

    async def _of_guard(self, tenant: str, model: str, extension: Extension) -> Target:
        """Return a guard as what a client names: alone, or with the memory's version that it was trained on top of."""
        try:
            guard = await self._guards.find(tenant, model)
        except GuardNotFound as error:
            raise no_model(model) from error
        if extension.mode != "adapter" or extension.compose or extension.language:
            raise InvalidRequest(
                f"`model` is language guard {guard.name!r}: name a memory, or base, beside "
                "memory.mode, memory.compose and memory.language.",
                "model",
            )
        if not guard.current:
            latest = await self._versions.get(tenant, guard.id, guard.latest)
            raise MemoryNotReady(f"Language guard {guard.name!r} is {latest.state}: it cannot answer yet.", "model")
        adapter, *_ = await self._versions.adapters(tenant, guard.id, guard.current)
        target = Target(asked=model, memory_id=guard.id, version=guard.current, adapter=adapter)
        if "adapter" not in guard.metadata:
            return target
        name = AdapterName.parse(guard.metadata["adapter"])
        below = Target(asked=model, memory_id=name.owner, version=name.version, adapter=str(name))
        return _sum(below, target)

    async def memory(self, tenant: str, named: str) -> Memory:
        """Find a memory that serves; raises as `resolve` does."""
        try:
            memory = await self._memories.find(tenant, named)
        except MemoryNotFound as error:
            raise no_model(named) from error
        if not memory.current:
            latest = await self._versions.get(tenant, memory.id, memory.latest)
            raise MemoryNotReady(f"Memory {memory.name!r} is {latest.state}: it cannot answer yet.", "model")
        return memory

    async def guarded(self, tenant: str, target: Target, language: str) -> Target:
        """Return the same with a language guard: alone over the base model, added to a memory's own update.

        Raises:
            GuardNotFound: none is ready.
        """
        found = await self._guards.newest(tenant, language, "" if target.mode == "context" else target.adapter)
        adapter, *_ = await self._versions.adapters(tenant, found.id, found.current)
        guard = Target(asked=target.asked, memory_id=found.id, version=found.current, adapter=adapter)
        if not target.adapter:
            return guard
        if target.mode == "context":
            return target.model_copy(update={"guard": guard})
        return _sum(target, guard)


def no_model(named: str) -> ModelNotFound:
    """Return the error of a name that nothing in the tenant has."""
    return ModelNotFound(f"There is no model or memory {named[:128]!r}: GET /v1/models lists all.", "model")


def _sum(target: Target, guard: Target) -> Target:
    """Return a memory's target with a guard's update added to it."""
    members = tuple(sorted((target, guard), key=lambda one: one.adapter))
    composition = Composition.sum_of([AdapterName.parse(one.adapter) for one in members])
    made = {"adapter": str(composition.name), "composition": composition, "members": members}
    return target.model_copy(update=made)


def cache_salt(tenant: str, served: str, own: object) -> str:
    """Return a salt that no other tenant, version or client salt shares, so neither does a cached prefix."""
    return hashlib.sha256(json.dumps([tenant, served, str(own or "")]).encode()).hexdigest()
