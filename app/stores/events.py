"""What happened to a memory, as a Redis stream a client can resume. Owns the `events` keys."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from app.core.lifecycle import State
from app.stores.codec import decode, flat
from app.stores.layout import events_key
from app.stores.redis import Registry

_BLOCK_MS = 1000  # then another stream may have the connection
_SILENT_READS = 10


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

    def __init__(self, redis: Registry, listener: Registry | None = None) -> None:
        """Build a store.

        Args:
            listener: a client for those who follow, who hold its connections, each for a second in turn.
        """
        self._redis, self._listener = redis, redis if listener is None else listener

    async def read(self, tenant: str, memory_id: str, after: str = "0") -> list[Event]:
        """Return the events after an id."""
        return _events(await self._redis.xread({events_key(tenant, memory_id): after}, count=500))

    async def follow(self, tenant: str, memory_id: str, after: str = "0") -> AsyncIterator[Event | None]:
        """Yield every event after an id, for ever; None after every ten seconds of silence."""
        key, silent = events_key(tenant, memory_id), 0
        events = await self.read(tenant, memory_id, after)
        while True:
            for found in events:
                after, silent = found.id, 0
                yield found
            if silent == _SILENT_READS:
                silent = 0
                yield None
            events = _events(await self._listener.xread({key: after}, count=500, block=_BLOCK_MS))
            silent += 1

    async def erase(self, tenant: str, memory_id: str) -> None:
        """Drop the stream."""
        await self._redis.delete(events_key(tenant, memory_id))


def _events(found: Any) -> list[Event]:
    entries = found[0][1] if found else []
    return [Event(entry_id, **decode(fields)) for entry_id, fields in entries]
