"""The registry from the artifacts: what was accepted, published or cancelled; the rest is queued again."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.core.lifecycle import OPEN, State
from app.core.memory import DocumentRef, Memory, Version
from app.core.names import AdapterName, is_guard_id
from app.errors import MemoryNotFound, NameTaken
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.engines import EngineStore
from app.stores.memories import MemoryStore
from app.stores.redis import connect
from app.stores.versions import VersionStore


async def rebuild(settings: Settings) -> dict[str, Any]:
    """Restore every memory that the artifact store holds and the registry does not; return how many of what."""
    async with connect(settings.registry_url) as redis:
        artifacts = ArtifactStore.open(settings)
        return await Rebuilder(artifacts, MemoryStore(redis), VersionStore(redis), EngineStore(redis)).run()


@dataclass(frozen=True)
class _Published:
    """A version that passed its gate, by its adapter, of several parts the first, whose note names them all."""

    name: AdapterName
    manifest: dict[str, Any]
    note: dict[str, Any]
    size_bytes: int

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its parts, if it has any."""
        return tuple(self.note.get("parts", ()))

    def to_version(self) -> Version:
        return Version(
            memory_id=self.name.owner,
            tenant=self.name.tenant,
            number=self.name.version,
            state=State.READY,
            recipe=self.manifest["recipe"],
            documents=tuple(DocumentRef(**ref) for ref in self.manifest["documents"]),
            created_at=self.manifest["created_at"],
            updated_at=self.note["published_at"],
            adapter=str(self.name),
            digest=self.manifest["digest"],
            size_bytes=self.size_bytes,
            scores=self.note["scores"],
            parts=self.parts,
        )


class Rebuilder:
    """Restores on open stores. What the registry holds already is left alone."""

    def __init__(
        self, artifacts: ArtifactStore, memories: MemoryStore, versions: VersionStore, engines: EngineStore
    ) -> None:
        self._artifacts, self._memories, self._versions, self._engines = artifacts, memories, versions, engines

    async def run(self) -> dict[str, Any]:
        """Restore all; return how many memories went which way.

        `erased` are those whose deletion was accepted and not finished; `name_taken` keep their files and wait for
        the name to be given up. What an upload that was cut off has left is passed over.
        """
        done = dict.fromkeys(("ready", "queued", "cancelled", "already_there", "erased", "name_taken"), 0)
        found = await asyncio.to_thread(lambda: {*self._artifacts.memories()} - {*self._artifacts.accepting()})
        guards_last = sorted(found, key=lambda one: (is_guard_id(one[1]), one))  # a guard fails without its memory
        for tenant, memory_id in guards_last:
            done[await self._one(tenant, memory_id)] += 1
        return done

    async def _one(self, tenant: str, memory_id: str) -> str:
        try:
            memory = await self._memories.get(tenant, memory_id)
        except MemoryNotFound:
            record = await asyncio.to_thread(self._artifacts.read_memory, tenant, memory_id)
        else:
            if memory.pinned:  # a rebuild may have been cut off before it
                await self._engines.pin_serving(tenant, memory_id)
            return "already_there"
        if "deleted_at" in record:
            await asyncio.to_thread(self._artifacts.erase_memory, tenant, memory_id)
            return "erased"
        if await self._memories.is_buried(tenant, memory_id):
            return "already_there"  # its deletion is, and not yet marked here: a gateway will erase it
        try:
            return await self._restore(
                Memory(**record["memory"]), Version.from_dict(record["version"]), record.get("rollback")
            )
        except NameTaken:
            return "name_taken"

    async def _restore(self, memory: Memory, noted: Version, rollback: dict[str, Any] | None) -> str:
        """Restore a memory, after its versions: cut off in between, it is not there yet and will be restored again."""
        found = await asyncio.to_thread(self._published, memory)
        published = [one for one in found if not _was_called_off(one, noted)]
        versions = {one.name.version: one.to_version() for one in published}
        latest = max([memory.latest, *versions])  # a gateway may die before it notes it
        whole = replace(memory, latest=latest, current=_current(published, rollback))
        last = versions.get(noted.number, noted)
        for version in versions.values():
            await self._versions.restore(version)
        try:
            await self._memories.create(whole, last, unique_content=False)
        except NameTaken:
            await self._versions.erase(memory.tenant, memory.id, latest)
            raise
        if last.state not in OPEN:
            await self._versions.restore(last)  # closes its job; a trainer would pass it over
        if memory.pinned:
            await self._engines.pin_serving(memory.tenant, memory.id)
        return str(last.state)

    def _published(self, memory: Memory) -> list[_Published]:
        whole = {str(name): name for name in self._artifacts.versions(memory.tenant, memory.id)}
        notes = [(name, self._artifacts.read_published(name)) for name in whole.values()]
        return [
            self._of(name, note, whole) for name, note in notes if note and whole.keys() >= set(note.get("parts", ()))
        ]

    def _of(self, name: AdapterName, note: dict[str, Any], whole: Mapping[str, AdapterName]) -> _Published:
        manifests = [self._artifacts.read_manifest(whole[part]) for part in note.get("parts") or [str(name)]]
        return _Published(name, manifests[0], note, sum(one["size_bytes"] for one in manifests))


def _was_called_off(one: _Published, noted: Version) -> bool:
    """Say whether the owner cancelled a version after its trainer had noted that it passed, and died."""
    return (
        one.name.version == noted.number
        and noted.state is State.CANCELLED
        and noted.updated_at > one.note["published_at"]
    )


def _current(published: list[_Published], rollback: dict[str, Any] | None) -> int:
    """Return the version that served: the newest, unless an older one was chosen after it was published."""
    if not published:
        return 0
    newest = max(published, key=lambda one: one.name.version)
    numbers = {one.name.version for one in published}
    if rollback and rollback["version"] in numbers and rollback["at"] > newest.note["published_at"]:
        return int(rollback["version"])
    return newest.name.version
