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


def composition_of(adapters: Sequence[str], options: ComposeOptions) -> Composition:
    """Return the recipe of a composite of these adapters.

    Raises:
        InvalidRequest: it makes no sense; the text says why.
    """
    members = [AdapterName.parse(adapter) for adapter in adapters]
    rest = {"weights": options.weights, "density": options.density, "max_rank": options.max_rank}
    try:
        return Composition.of(options.method, members, **rest)  # type: ignore[arg-type]
    except InvalidValue as error:
        raise InvalidRequest(f"memory.compose: {error}", "memory.compose") from error
