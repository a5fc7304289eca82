"""What a request is about: the base model or one memory's current version, and how to use it."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.names import BASE
from app.errors import (
    CompositeRejected,
    InvalidRequest,
    MemoryNotFound,
    MemoryNotReady,
    ModelNotFound,
    UnsupportedParameter,
)
from app.services.languages import Guards
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
        if extension.compose is not None:
            raise UnsupportedParameter("memory.compose is not available yet: leave it out.", "memory.compose")
        if extension.ids == "auto" or len(extension.ids) > 1:
            raise UnsupportedParameter(
                "Name exactly one memory: choosing among several is not available yet.", "memory.ids"
            )
        return extension


class Target(BaseModel):
    """Where an answer comes from.

    Attributes:
        asked: what the client calls it.
        adapter: the engine's name for the memory's current version; empty for the base model.
    """

    model_config = ConfigDict(frozen=True)

    asked: str
    mode: Mode = "adapter"
    memory_id: str = ""
    version: int = 0
    adapter: str = ""

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
            return await self._guarded(tenant, model, extension.language)
        if extension.language is not None:
            raise _needs_composite()
        try:
            memory = await self._memories.find(tenant, named)
        except MemoryNotFound as error:
            raise ModelNotFound(
                f"There is no model or memory {named[:128]!r}: GET /v1/models lists all.", "model"
            ) from error
        if not memory.current:
            latest = await self._versions.get(tenant, memory.id, memory.latest)
            raise MemoryNotReady(f"Memory {memory.name!r} is {latest.state}: it cannot answer yet.", "model")
        adapter = await self._versions.adapter(tenant, memory.id, memory.current)
        return Target(asked=model, mode=extension.mode, memory_id=memory.id, version=memory.current, adapter=adapter)

    async def _guarded(self, tenant: str, model: str, language: str | None) -> Target:
        """Return the base model, with the newest guard where a language is asked for."""
        if language is None:
            return Target(asked=model)
        guard = await self._guards.newest(tenant, language)
        adapter = await self._versions.adapter(tenant, guard.id, guard.current)
        return Target(asked=model, memory_id=guard.id, version=guard.current, adapter=adapter)


def _needs_composite() -> CompositeRejected:
    return CompositeRejected(
        "A memory with a language guard needs a composite of both, which is not available yet: ask one of them.",
        "memory.language",
    )
