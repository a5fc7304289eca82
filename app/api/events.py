"""A memory's events as server-sent events."""

import json
import re
from collections.abc import AsyncIterator

from sse_starlette import ServerSentEvent

from app.core.lifecycle import TERMINAL
from app.core.memory import Memory
from app.errors import InvalidRequest, NotFound
from app.stores.events import Event, EventStore
from app.stores.memories import MemoryStore
from app.stores.versions import VersionStore

_EVENT_ID = re.compile(r"[0-9]{1,15}(-[0-9]{1,15})?")


def event_after(after: str | None, last_event_id: str | None) -> str:
    """Return the id after which a client wants events: its header's, else its parameter's, else from the beginning.

    Raises:
        InvalidRequest: it is not an id.
    """
    param, start = ("Last-Event-ID", last_event_id) if last_event_id is not None else ("after", after)
    if start is not None and not _EVENT_ID.fullmatch(start):
        raise InvalidRequest(f"{param} is not the id of an event: send one as it was received.", param)
    return start or "0"


class Narrator:
    """Tells what happens to memories."""

    def __init__(self, events: EventStore, memories: MemoryStore, versions: VersionStore) -> None:
        self._events, self._memories, self._versions = events, memories, versions

    async def tell(self, memory: Memory, after: str) -> AsyncIterator[ServerSentEvent]:
        """Yield the events after an id until the newest version is over; a comment in every silence."""
        if await self._ended(memory, after):
            return
        async for event in self._events.follow(memory.tenant, memory.id, after):
            yield _told(event)
            after = event.id if event else after
            if (event is None or event.kind == "state") and await self._ended(memory, after):
                return

    async def _ended(self, memory: Memory, after: str) -> bool:
        """Say whether nothing will come after an id: the newest version is over and its last event was told."""
        try:
            now = await self._memories.get(memory.tenant, memory.id)
            latest = await self._versions.get(now.tenant, now.id, now.latest)
        except NotFound:
            return True
        return latest.state in TERMINAL and not await self._events.read(memory.tenant, memory.id, after)


def _told(event: Event | None) -> ServerSentEvent:
    if event is None:
        return ServerSentEvent(comment="still here")
    return ServerSentEvent(id=event.id, event=event.kind, data=json.dumps(event.data, ensure_ascii=False), sep="\n")
