"""What a request is about: the base model or one memory's current version, and how to use it."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.names import BASE
from app.errors import InvalidRequest, MemoryNotFound, MemoryNotReady, ModelNotFound, UnsupportedParameter
from app.stores.memories import MemoryStore
from app.stores.versions import VersionStore

Mode = Literal["adapter", "context", "both"]


class Extension(BaseModel):
    """The `memory` object of a request: which memory answers, and from what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: list[str] | Literal["auto"] = Field(default_factory=list)
    mode: Literal["adapter", "context", "both", "auto"] = "adapter"
    language: str | None = None
    compose: dict[str, Any] | None = None

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
        if extension.mode == "auto":
            raise UnsupportedParameter(
                "memory.mode auto is not available yet: use adapter, context or both.", "memory.mode"
            )
        for name in ("language", "compose"):
            if getattr(extension, name) is not None:
                raise UnsupportedParameter(f"memory.{name} is not available yet: leave it out.", f"memory.{name}")
        if extension.ids == "auto" or len(extension.ids) > 1:
            raise UnsupportedParameter(
                "Name exactly one memory: choosing among several is not available yet.", "memory.ids"
            )
        return extension


class Target(BaseModel):
    """Where an answer comes from.

    Attributes:
        asked: what the client calls it.
        adapter: the engine's name for the memory's current version, or the part of it that was picked; empty for the
            base model.
        adapters: that one, or all parts.
        part: which of them was picked, from 1; None where there is one.
    """

    model_config = ConfigDict(frozen=True)

    asked: str
    mode: Mode = "adapter"
    memory_id: str = ""
    version: int = 0
    adapter: str = ""
    adapters: tuple[str, ...] = ()
    part: int | None = None

    def picking(self, place: int) -> Self:
        """Return the target with one of its parts picked."""
        if len(self.adapters) < 2:
            return self
        return self.model_copy(update={"adapter": self.adapters[place], "part": place + 1})

    @property
    def served(self) -> str:
        """The engine's name of the model that runs."""
        return self.adapter_asked or BASE

    @property
    def adapter_asked(self) -> str | None:
        """The adapter that an engine must hold; None where the base model answers."""
        return self.adapter if self.adapter and self.mode != "context" else None


class Resolver:
    """Maps what a client names to what serves it now: one read of the registry, nothing cached."""

    def __init__(self, memories: MemoryStore, versions: VersionStore) -> None:
        self._memories, self._versions = memories, versions

    async def resolve(self, tenant: str, model: object, extension: Extension) -> Target:
        """Find the target of a request.

        Raises:
            InvalidRequest: `model` is not a name, or contradicts the extension.
            ModelNotFound: there is no such memory; never answered by the base model instead.
            MemoryNotReady: it has no version that serves yet.
        """
        if not isinstance(model, str) or not model:
            raise InvalidRequest("Name a `model`: `base`, or a memory's id or name.", "model")
        named = extension.ids[0] if extension.ids else model
        if extension.ids and model not in {BASE, named}:
            raise InvalidRequest(
                "`model` and `memory.ids` name two things: leave one out or set model to base.", "model"
            )
        if named == BASE and not extension.ids:
            if extension.mode != "adapter":
                raise InvalidRequest(
                    f"Mode {extension.mode} needs a memory: name one as model or in memory.ids.", "memory.ids"
                )
            return Target(asked=model)
        try:
            memory = await self._memories.find(tenant, named)
        except MemoryNotFound as error:
            raise ModelNotFound(
                f"There is no model or memory {named[:128]!r}: GET /v1/models lists all.", "model"
            ) from error
        if not memory.current:
            latest = await self._versions.get(tenant, memory.id, memory.latest)
            raise MemoryNotReady(f"Memory {memory.name!r} is {latest.state}: it cannot answer yet.", "model")
        adapters = await self._versions.adapters(tenant, memory.id, memory.current)
        own = {"memory_id": memory.id, "version": memory.current, "adapter": adapters[0], "adapters": adapters}
        return Target(asked=model, mode=extension.mode, **own)
