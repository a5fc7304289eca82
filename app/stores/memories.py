"""Memories: names, contents, paging, deletion. Owns the `memory`, `memories`, `names`, `contents`, `idempotency` keys.

A memory is readable as soon as `create` returns, with its first version, that version's job and its first event. A
language guard is kept as a memory is, under an id of its own kind and so with names and lists of its own.
"""

import dataclasses
import json
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.lifecycle import State
from app.core.memory import Memory, Version
from app.errors import DuplicateContent, IdempotencyMismatch, MemoryNotFound, NameTaken
from app.stores import layout
from app.stores.codec import decode, flat
from app.stores.events import state_event
from app.stores.redis import Registry
from app.stores.scripts import Scripts
from app.stores.versions import Job

IDEMPOTENCY_TTL_S = 24 * 3600
_PAGE = 500


@dataclass(frozen=True)
class Idempotency:
    """A client's `Idempotency-Key`, and a digest of what it sent under it."""

    key: str
    request_digest: str


class MemoryStore:
    """Reads and changes memories."""

    def __init__(self, redis: Registry) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)

    async def create(
        self,
        memory: Memory,
        version: Version,
        *,
        unique_content: bool = True,
        once: Idempotency | None = None,
        guards: Sequence[tuple[Memory, Version]] = (),
    ) -> tuple[str, bool]:
        """Accept a memory and its first version, queued, as one step.

        Args:
            unique_content: refuse documents that are already a memory of this tenant; that one keeps the content.
            once: makes the call safe to repeat for a day, or until the memory is deleted.
            guards: accepted in the same step, each with its only version.

        Returns:
            The memory's id, and whether this call made it; not so when `once` was seen before.

        Raises:
            NameTaken, DuplicateContent, IdempotencyMismatch: nothing was written.
        """
        tenant, now = memory.tenant, memory.created_at
        shelf, own = _shelf(tenant, memory.id), _rows(memory, version)
        keys = [*shelf, *_row_keys(memory, version), layout.JOBS]
        keys += [layout.idempotency_key(tenant, once.key) if once else "", layout.revision_key(tenant)]
        for guard, only in guards:
            names, _, ids = _shelf(tenant, guard.id)
            keys += [names, ids, *_row_keys(guard, only)]
        remembered = json.dumps([memory.id, once.request_digest]) if once else ""
        beside = json.dumps([[guard.name, guard.id, *_rows(guard, only)] for guard, only in guards])
        args = [memory.name, memory.content, memory.id, *own, now, remembered, IDEMPOTENCY_TTL_S, beside]
        outcome, value = await self._scripts.run("create", keys, [*args, int(unique_content)])
        return _created(memory, outcome, value, once)

    async def seen(self, tenant: str, once: Idempotency) -> str | None:
        """Return the id that an `Idempotency-Key` led to before, if any; a memory that was deleted since is none.

        Raises:
            IdempotencyMismatch: it was used for another request.
        """
        value = await self._redis.get(layout.idempotency_key(tenant, once.key))
        if not value or not await self._redis.exists(layout.memory_key(tenant, json.loads(value)[0])):
            return None
        return _same_request(value, once)

    async def get(self, tenant: str, memory_id: str) -> Memory:
        """Return a memory.

        Raises:
            MemoryNotFound: the tenant has none with this id.
        """
        row = await self._redis.hgetall(layout.memory_key(tenant, memory_id))
        if not row:
            raise MemoryNotFound(f"There is no memory {memory_id[:64]!r}.")
        return Memory(**decode(row))

    async def find(self, tenant: str, name_or_id: str, kind: str = layout.MEMORY) -> Memory:
        """Return the memory, or guard, with this id or name.

        Raises:
            MemoryNotFound: the tenant has no such memory.
        """
        named = None
        if not name_or_id.startswith(f"{kind}_"):
            named = await self._redis.hget(layout.names_key(tenant, kind), name_or_id)
        found = str(named or name_or_id)
        if layout.kind_of(found) != kind:  # no id at all, or one of the other kind
            raise MemoryNotFound(f"There is no memory {name_or_id[:64]!r}.")
        return await self.get(tenant, found)

    async def page(
        self, tenant: str, *, limit: int, after: str = "", kind: str = layout.MEMORY
    ) -> tuple[list[Memory], bool]:
        """Return the memories, or guards, that come after an id, newest first, and whether there are more."""
        top = f"({after}" if after else "+"
        ids = await self._redis.zrevrangebylex(layout.memories_key(tenant, kind), top, "-", 0, limit + 1)
        async with self._redis.pipeline(transaction=False) as pipe:
            for memory_id in ids[:limit]:
                pipe.hgetall(layout.memory_key(tenant, memory_id))
            rows = await pipe.execute()
        return [Memory(**decode(row)) for row in rows if row], len(ids) > limit

    async def every(self, tenant: str, kind: str = layout.MEMORY) -> AsyncIterator[Memory]:
        """Yield all memories, or guards, newest first."""
        after, more = "", True
        while more:
            page, more = await self.page(tenant, limit=_PAGE, after=after, kind=kind)
            for memory in page:
                yield memory
            after = page[-1].id if page else ""
            more = more and bool(page)

    async def guards_on(self, tenant: str, memory_ids: Collection[str]) -> list[Memory]:
        """Return the guards that are trained, or to be trained, on top of some memories, newest first."""
        every = self.every(tenant, layout.GUARD)
        return [guard async for guard in every if guard.metadata.get("memory") in memory_ids]

    async def update(self, tenant: str, memory_id: str, fields: Mapping[str, Any]) -> None:
        """Set fields of a memory that no other key depends on: metadata, pinned, current.

        Raises:
            MemoryNotFound: it is gone.
        """
        keys = [layout.memory_key(tenant, memory_id), layout.revision_key(tenant)]
        if not await self._scripts.run("update", keys, [flat({**fields, "updated_at": time.time()})]):
            raise MemoryNotFound(f"There is no memory {memory_id!r}.")

    async def rename(self, tenant: str, memory_id: str, name: str) -> None:
        """Give a memory another name.

        Raises:
            NameTaken, MemoryNotFound: nothing was written.
        """
        keys = [layout.names_key(tenant, layout.kind_of(memory_id)), layout.memory_key(tenant, memory_id)]
        keys.append(layout.revision_key(tenant))
        outcome, value = await self._scripts.run("rename", keys, [name, json.dumps(name), memory_id, time.time()])
        if outcome == "missing":
            raise MemoryNotFound(f"There is no memory {memory_id!r}.")
        if outcome == "name_taken":
            raise _name_taken(name, value)

    async def bury(self, memory: Memory, tombstone: Mapping[str, Any]) -> int:
        """Delete a memory for every reader at once, owing its erasure to `app.stores.erasures`.

        Returns:
            How many versions it had; 0 when it was gone before.
        """
        tenant = memory.tenant
        keys = _shelf(tenant, memory.id)
        keys += [layout.memory_key(tenant, memory.id), layout.tombstone_key(tenant, memory.id)]
        keys += [layout.ERASURES, layout.JOBS, layout.revision_key(tenant)]
        member = f"{tenant}/{memory.id}"
        args = [memory.id, flat(tombstone), member, time.time(), f"{member}/", layout.memory_key(tenant, "")]
        return int(await self._scripts.run("bury", keys, args))

    async def is_there(self, tenant: str, memory_id: str) -> bool:
        """Say whether the tenant has a memory or guard with this id."""
        return bool(await self._redis.exists(layout.memory_key(tenant, memory_id)))

    async def is_buried(self, tenant: str, memory_id: str) -> bool:
        """Say whether a memory was deleted, its erasure finished or not."""
        return bool(await self._redis.exists(layout.tombstone_key(tenant, memory_id)))


def _shelf(tenant: str, memory_id: str) -> list[str]:
    """Return the keys of names, contents and ids that this id belongs to."""
    kind = layout.kind_of(memory_id)
    return [layout.names_key(tenant, kind), layout.contents_key(tenant, kind), layout.memories_key(tenant, kind)]


def _row_keys(memory: Memory, version: Version) -> list[str]:
    """Return the keys of what `_rows` holds."""
    tenant, memory_id = memory.tenant, memory.id
    keys = [layout.memory_key(tenant, memory_id), layout.version_key(tenant, memory_id, version.number)]
    return [*keys, layout.events_key(tenant, memory_id)]


def _rows(memory: Memory, version: Version) -> list[str]:
    """Return what `create` writes: both rows, the first event, the job."""
    rows = [flat(dataclasses.asdict(memory)), flat(dataclasses.asdict(version))]
    return [*rows, state_event(State.QUEUED, version.number), str(Job(memory.tenant, memory.id, version.number))]


def _created(memory: Memory, outcome: str, value: str, once: Idempotency | None) -> tuple[str, bool]:
    if outcome == "idempotent" and once is not None:
        return _same_request(value, once), False
    if outcome == "name_taken":
        raise _name_taken(memory.name, value)
    if outcome == "guard_name_taken":
        raise NameTaken(f"Language guard {value} has the name that a new one was to have: send the request again.")
    if outcome == "duplicate":
        raise DuplicateContent(
            f"These documents are already memory {value}: use that one, or send options.allow_duplicate=true."
        )
    return memory.id, True


def _same_request(remembered: str, once: Idempotency) -> str:
    memory_id, digest = json.loads(remembered)
    if digest != once.request_digest:
        raise IdempotencyMismatch("This Idempotency-Key was used for another request: send a new one.")
    return str(memory_id)


def _name_taken(name: str, memory_id: str) -> NameTaken:
    return NameTaken(f"A memory is already called {name!r} ({memory_id}): choose another name.", "name")
