"""Versions and the jobs that train them. Owns the `version` keys and the list of open jobs.

A version changes only by `change`, a compare-and-set on its state and, for a trainer, on its fencing token and
lease: a trainer that lost its lease cannot write. Leases run by the registry's clock.
"""

import dataclasses
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from app.core.lifecycle import OPEN, State, can_become
from app.core.memory import Memory, Version
from app.errors import DuplicateContent, LeaseLost, MemoryNotFound, StateConflict, VersionNotFound
from app.stores import layout
from app.stores.codec import decode, encode, flat
from app.stores.events import event, state_event
from app.stores.redis import Registry
from app.stores.scripts import Scripts


@dataclass(frozen=True)
class Job:
    """The training of one version."""

    tenant: str
    memory_id: str
    number: int

    def __str__(self) -> str:
        return f"{self.tenant}/{self.memory_id}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form back."""
        tenant, memory_id, number = text.split("/")
        return cls(tenant, memory_id, int(number))


class VersionStore:
    """Reads and changes versions; hands out their jobs."""

    def __init__(self, redis: Registry) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)

    async def get(self, tenant: str, memory_id: str, number: int) -> Version:
        """Return one version.

        Raises:
            VersionNotFound: the memory has none with this number.
        """
        row = await self._redis.hgetall(layout.version_key(tenant, memory_id, number))
        if not row:
            raise VersionNotFound(f"Memory {memory_id!r} has no version {number}.")
        return Version.from_dict(decode(row))

    async def adapters(self, tenant: str, memory_id: str, number: int) -> tuple[str, ...]:
        """Return what engines call one version, or its parts: all that a question needs, however many documents it has.

        Raises:
            VersionNotFound: the memory has none with this number.
        """
        adapter, parts = await self._fields(tenant, memory_id, number, "adapter", "parts")
        return tuple(parts or ()) or (str(adapter),)

    async def scores(self, tenant: str, memory_id: str, number: int) -> dict[str, Any]:
        """Return what the gate measured of one version; raises as `adapters` does."""
        [scores] = await self._fields(tenant, memory_id, number, "scores")
        return dict(scores)

    async def _fields(self, tenant: str, memory_id: str, number: int, *names: str) -> list[Any]:
        texts = await self._redis.hmget(layout.version_key(tenant, memory_id, number), names)
        if texts[0] is None:
            raise VersionNotFound(f"Memory {memory_id!r} has no version {number}.")
        return [None if text is None else json.loads(text) for text in texts]

    async def of(self, memory: Memory) -> list[Version]:
        """Return all versions of a memory, newest first."""
        return await self.many([(memory, number) for number in range(memory.latest, 0, -1)])

    async def many(self, wanted: list[tuple[Memory, int]]) -> list[Version]:
        """Return the versions that exist of those wanted, in one round trip."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for memory, number in wanted:
                pipe.hgetall(layout.version_key(memory.tenant, memory.id, number))
            return [Version.from_dict(decode(row)) for row in await pipe.execute() if row]

    async def add(self, memory: Memory, version: Version, *, content: str) -> None:
        """Queue the next version of `memory`; the current one goes on serving.

        Args:
            content: digest of the union of the documents.

        Raises:
            StateConflict: somebody else added one first.
            DuplicateContent, MemoryNotFound: as they say.
        """
        tenant, number = memory.tenant, version.number
        keys = [layout.memory_key(tenant, memory.id), layout.version_key(tenant, memory.id, number)]
        keys += [layout.events_key(tenant, memory.id), layout.JOBS]
        keys += [layout.contents_key(tenant), layout.memories_key(tenant)]
        fields = flat({"latest": number, "content": content, "updated_at": version.created_at})
        job = str(Job(tenant, memory.id, number))
        first = state_event(State.QUEUED, number)
        args = [str(memory.latest), fields, flat(dataclasses.asdict(version)), first, job, version.created_at]
        args += [content, memory.id, layout.memory_key(tenant, "")]
        outcome, value = await self._scripts.run("add_version", keys, args)
        if outcome == "missing":
            raise MemoryNotFound(f"There is no memory {memory.id!r}.")
        if outcome == "conflict":
            raise StateConflict("Another version was added at the same moment: send the documents again.")
        if outcome == "duplicate":
            raise DuplicateContent(f"These documents are already memory {value}.")

    async def restore(self, version: Version) -> None:
        """Write a version that the artifact store vouches for, and close its job."""
        job = Job(version.tenant, version.memory_id, version.number)
        async with self._redis.pipeline(transaction=True) as pipe:
            key = layout.version_key(job.tenant, job.memory_id, job.number)
            pipe.hset(key, mapping=encode(dataclasses.asdict(version)))
            pipe.zrem(layout.JOBS, str(job))
            pipe.set(layout.revision_key(job.tenant), secrets.token_hex(8))
            await pipe.execute()

    async def change(
        self,
        version: Version,
        target: State,
        *,
        fence: int | None = None,
        fields: Mapping[str, Any] | None = None,
        memory_fields: Mapping[str, Any] | None = None,
    ) -> Version:
        """Move a version from the state it is thought to have to `target`, writing its event in the same step.

        Args:
            fence: the fencing token of the trainer that asks; none when a user asks, which takes the job from
                whoever holds it.
            memory_fields: written with it; `current` only where no later version serves, and the pins of a memory that
                is pinned move with it.

        Returns:
            The version as it is now.

        Raises:
            StateConflict: `target` may not follow, or another process moved it first.
            LeaseLost: the token is old or its lease is over.
            MemoryNotFound: it was deleted.
        """
        if not can_become(version.state, target):
            raise StateConflict(f"A version that is {version.state} cannot become {target}.")
        now = time.time()
        changed = {**(fields or {}), "state": target, "updated_at": now}
        if fence is None:
            changed |= {"fence": version.fence + 1, "lease_until": 0.0}
        keep = flat({**(memory_fields or {}), "updated_at": now})
        told = state_event(target, version.number, error=changed.get("error"), scores=changed.get("scores"))
        job = "close" if target not in OPEN else "open" if target is State.QUEUED else ""
        guard = (json.dumps([json.dumps(version.state)]), "" if fence is None else str(fence))
        await self._apply(version, guard, (flat(changed), keep, told, job))
        return dataclasses.replace(version, **changed)

    async def progress(self, version: Version, fence: int, data: dict[str, Any]) -> None:
        """Record how far a stage is, as an event and on the version.

        Raises:
            LeaseLost, MemoryNotFound: as in `change`.
        """
        told = event("progress", {"version": version.number, **data})
        await self._apply(version, ("[]", str(fence)), (flat({"progress": data}), "[]", told, ""))

    async def open_jobs(self) -> list[Job]:
        """List every job that is not over, oldest first."""
        return [Job.parse(text) for text in await self._redis.zrange(layout.JOBS, 0, -1)]

    async def claim(self, job: Job, *, lease_s: float) -> int:
        """Take a job; a version left in the middle by a crash goes back to `queued`.

        Returns:
            A fencing token, or 0 when the job is over or another trainer holds it.
        """
        told = state_event(State.QUEUED, job.number, reason="trainer_lost")
        states = json.dumps([json.dumps(state) for state in sorted(OPEN)])
        args = [states, lease_s, told, str(job), time.time()]
        return int(await self._scripts.run("claim", _keys(job), args))

    async def renew(self, job: Job, fence: int, *, lease_s: float) -> bool:
        """Lengthen the lease; False when it was lost before."""
        keys = [layout.version_key(job.tenant, job.memory_id, job.number)]
        return bool(await self._scripts.run("renew", keys, [str(fence), lease_s]))

    async def release(self, job: Job, fence: int, *, wait_s: float = 0, counted: bool = True) -> bool:
        """Give the job up; False when the lease was lost before.

        Args:
            wait_s: how long nobody takes it up again.
            counted: whether the attempt was one; an attempt that could not begin is taken back.
        """
        keys = [layout.version_key(job.tenant, job.memory_id, job.number)]
        return bool(await self._scripts.run("release", keys, [str(fence), wait_s, int(counted)]))

    async def erase(self, tenant: str, memory_id: str, count: int) -> None:
        """Drop the rows of a deleted memory's versions, 1 to `count`."""
        await self._redis.delete(*[layout.version_key(tenant, memory_id, number) for number in range(1, count + 1)])

    async def _apply(self, version: Version, guard: tuple[str, str], writes: tuple[str, str, str, str]) -> None:
        job = Job(version.tenant, version.memory_id, version.number)
        outcome, state = await self._scripts.run("apply", _keys(job), [*guard, *writes, str(job), version.created_at])
        if outcome == "missing":
            raise MemoryNotFound(f"There is no memory {version.memory_id!r}.")
        if outcome == "lease_lost":
            raise LeaseLost("Another trainer holds this version now.")
        if outcome == "conflict":
            raise StateConflict(f"The version is {json.loads(state)} now.")


def _keys(job: Job) -> list[str]:
    """Return the keys that `claim` and `apply` take: version, memory, events, jobs, revision, pinned."""
    tenant, memory_id = job.tenant, job.memory_id
    keys = [layout.version_key(tenant, memory_id, job.number), layout.memory_key(tenant, memory_id)]
    return [*keys, layout.events_key(tenant, memory_id), layout.JOBS, layout.revision_key(tenant), layout.PINNED]
