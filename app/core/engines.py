"""What an engine reports about itself, as values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Residency:
    """One adapter an engine holds.

    Attributes:
        load_ms: how long reading, checking and loading it took.
        used_at: when a request for it last began or ended, in seconds since the epoch.
        active: requests for it in flight.
    """

    loaded_at: float
    load_ms: float
    used_at: float
    active: int = 0


@dataclass(frozen=True)
class EngineRecord:
    """One engine as its agent last reported it.

    Attributes:
        epoch: rises with every start of any engine; a report with an older one is a zombie's.
        base_digest: digest of the base model's configuration and weights.
        max_loras: how many distinct adapters run in one batch.
        capacity: how many adapters the engine can hold.
        takes_system: whether the base model's chat template shows a system message.
        resident: the adapters it holds and has checked, by name.
    """

    id: str
    url: str
    epoch: int
    base_digest: str
    device: str
    max_loras: int
    capacity: int
    max_lora_rank: int
    max_model_len: int
    vllm: str
    started_at: float
    heartbeat_at: float
    takes_system: bool = True
    resident: Mapping[str, Residency] = field(default_factory=dict)


def merged_use(desired: Mapping[str, float], resident: Mapping[str, Residency]) -> dict[str, float]:
    """Return when each desired adapter was last wanted, counting the requests that its engine saw; inf while in use.

    Keeps the agent's choice of what stays equal to the engine's own choice of what to evict.
    """
    used_at = {name: math.inf if one.active else one.used_at for name, one in resident.items()}
    return {name: max(asked_at, used_at.get(name, asked_at)) for name, asked_at in desired.items()}
