"""What the guard's own endpoints take: an unknown field or a wrong type is an error."""

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.composition import MOST_MEMBERS, Composition
from app.core.errors import InvalidValue
from app.core.names import check_tenant, is_guard_id, is_memory_id
from app.errors import InvalidRequest

Body = TypeVar("Body", bound=BaseModel)


class ComposeBody(BaseModel):
    """A recipe, as `Composition.to_dict` writes it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    method: str
    members: list[str] = Field(min_length=1, max_length=MOST_MEMBERS)
    weights: list[float] | Literal["learned"]
    density: float | None = None
    max_rank: int | None = None


class PurgeBody(BaseModel):
    """A memory, or a language guard, that is being erased."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tenant: str
    memory_id: str
    files: bool


def read_composition(body: dict[str, Any]) -> Composition:
    """Read the recipe of a composite.

    Raises:
        InvalidRequest: it is none; the text says why.
    """
    try:
        return Composition.from_dict(_read(ComposeBody, body).model_dump())
    except InvalidValue as error:
        raise InvalidRequest(str(error), "composition") from error


def read_purge(body: dict[str, Any]) -> PurgeBody:
    """Read which memory to let go of.

    Raises:
        InvalidRequest: that is no memory and no language guard.
    """
    purge = _read(PurgeBody, body)
    try:
        check_tenant(purge.tenant)
    except InvalidValue as error:
        raise InvalidRequest(str(error), "tenant") from error
    if not (is_memory_id(purge.memory_id) or is_guard_id(purge.memory_id)):
        raise InvalidRequest("That is not the id of a memory or a language guard.", "memory_id")
    return purge


def _read(schema: type[Body], body: dict[str, Any]) -> Body:
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"{place}: {first['msg']}.", place) from error
