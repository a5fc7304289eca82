"""What happened to a memory, as a Redis stream a client can resume. Owns the `events` keys."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from app.core.lifecycle import State
from app.stores.codec import decode, flat
from app.stores.layout import events_key
from app.stores.redis import Registry

SILENCE_MS = 10_000


@dataclass(frozen=True)
class Event:
    """One event. `id` orders it and is what a client resumes after."""

    id: str
    kind: str
    data: dict[str, Any]


def event(kind: str, data: dict[str, Any]) -> str:
    """Return an event as the scripts take it, to be written in the same step as what it tells."""
    return flat({"kind": kind, "data": data})


def state_event(state: State, version: int, **more: Any) -> str:
    """Return the event of a version's new state; empty details are left out."""
    return event(
        "state", {"state": state, "version": version, **{name: value for name, value in more.items() if value}}
    )


class EventStore:
    """Reads events; the scripts of other modules write them."""

    def __init__(self, redis: Registry) -> None:
        self._redis = redis

    async def read(self, tenant: str, memory_id: str, after: str = "0", *, wait_ms: int = 0) -> list[Event]:
        """Return the events after an id, waiting up to `wait_ms` for the first one when there is none yet."""
        key = events_key(tenant, memory_id)
        found = await self._redis.xread({key: after}, count=500, block=wait_ms or None)
        entries = found[0][1] if found else []
        return [Event(entry_id, **decode(fields)) for entry_id, fields in entries]

    async def follow(self, tenant: str, memory_id: str, after: str = "0") -> AsyncIterator[Event | None]:
        """Yield every event after an id, for ever; None after every ten seconds of silence."""
        while True:
            events = await self.read(tenant, memory_id, after, wait_ms=SILENCE_MS)
            if not events:
                yield None
            for found in events:
                after = found.id
                yield found

    async def erase(self, tenant: str, memory_id: str) -> None:
        """Drop the stream."""
        await self._redis.delete(events_key(tenant, memory_id))
