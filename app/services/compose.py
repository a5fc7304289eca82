"""Several memories as one adapter: what a request says of it, as a recipe that an engine can follow."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.core.composition import MOST_MEMBERS, Composition, Method
from app.core.errors import InvalidValue
from app.core.names import AdapterName
from app.errors import InvalidRequest

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class ComposeOptions(BaseModel):
    """`memory.compose` of a request; weights in the order of `memory.ids`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = "cat"
    weights: list[Number] | Literal["learned"] | None = None
    density: Number | None = None
    max_rank: Annotated[int, Field(strict=True)] | None = None


def check_count(ids: Sequence[str]) -> None:
    """Refuse more memories than a composite takes, before any is looked up.

    Raises:
        InvalidRequest: the text says how many.
    """
    if len(ids) > MOST_MEMBERS:
        raise InvalidRequest(f"A composite has at most {MOST_MEMBERS} members: name fewer.", "memory.ids")


def composition_of(memories: Sequence[Sequence[str]], options: ComposeOptions) -> Composition:
    """Return the recipe of a composite of these memories.

    Args:
        memories: the adapters of each, of which every one is a member, with the weight of its memory.

    Raises:
        InvalidRequest: it makes no sense; the text says why.
    """
    members = [AdapterName.parse(adapter) for adapters in memories for adapter in adapters]
    weights = _of_members(options.weights, memories) if isinstance(options.weights, list) else options.weights
    rest = {"weights": weights, "density": options.density, "max_rank": options.max_rank}
    try:
        return Composition.of(options.method, members, **rest)  # type: ignore[arg-type]
    except InvalidValue as error:
        raise InvalidRequest(f"memory.compose: {error}", "memory.compose") from error


def _of_members(weights: Sequence[float], memories: Sequence[Sequence[str]]) -> list[float]:
    if len(weights) != len(memories):
        raise InvalidRequest(
            f"memory.compose: There are {len(memories)} memories and {len(weights)} weights: give one for each.",
            "memory.compose",
        )
    return [weight for weight, adapters in zip(weights, memories, strict=True) for _ in adapters]
