"""What one engine should load and unload: desired against resident, within its capacity."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Reconciliation:
    """What to do to one engine, in this order: remove, then load."""

    remove: tuple[str, ...]
    load: tuple[str, ...]


def reconcile(
    desired: Mapping[str, float], resident: Collection[str], *, pinned: Collection[str], capacity: int
) -> Reconciliation:
    """Compare what an engine should hold with what it holds.

    Args:
        desired: adapter name -> when it was last asked for, in seconds since the epoch.
        resident: adapters the engine reports.
        pinned: adapters that go first when there is not room for all.
        capacity: how many adapters the engine can hold.

    Returns:
        Residents nobody desires are removed; the most recently used desired ones that fit are loaded.
    """
    ranked = sorted(desired, key=lambda name: (name not in pinned, -desired[name], name))
    keep = ranked[:capacity]
    return Reconciliation(
        remove=tuple(sorted(set(resident) - set(keep))),
        load=tuple(name for name in keep if name not in resident),
    )


def evict(used_at: Mapping[str, float], *, busy: Collection[str], pinned: Collection[str]) -> str | None:
    """Pick the adapter to unload for a new one: least recently used, never busy, never pinned."""
    candidates = [name for name in used_at if name not in busy and name not in pinned]
    return min(candidates, key=lambda name: (used_at[name], name), default=None)
