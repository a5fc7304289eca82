"""Which engine answers a request: a pure function of what the engines report."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EngineView:
    """One live engine as the gateway sees it now.

    Attributes:
        resident: adapters the engine holds, by name.
        active: requests in flight per adapter name; the base model is not counted here.
        in_flight: requests in flight in all.
        max_loras: how many distinct adapters the engine can run in one batch.
    """

    id: str
    url: str
    resident: frozenset[str]
    active: Mapping[str, int]
    in_flight: int
    max_loras: int

    def admits(self, adapter: str | None) -> bool:
        """Say whether a request for `adapter` fits without evicting one that is in use."""
        return adapter is None or adapter in self.active or len(self.active) < self.max_loras


def choose(engines: Collection[EngineView], adapter: str | None) -> EngineView | None:
    """Pick the engine for one request; None when every engine's adapter slots are in use.

    An engine that holds the adapter and has room comes first, then the least loaded one, which loads it on the
    way. Equal loads are decided by id, so that two gateways agree.
    """
    fits = [engine for engine in engines if engine.admits(adapter)]
    holds = [engine for engine in fits if adapter is None or adapter in engine.resident]
    return min(holds or fits, key=lambda engine: (engine.in_flight, engine.id), default=None)
