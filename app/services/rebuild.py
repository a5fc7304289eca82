"""The registry from the artifacts: what was accepted, what was published; the rest is queued again."""

import asyncio
from typing import Any

from app.core.lifecycle import State
from app.core.memory import DocumentRef, Memory, Version
from app.core.names import AdapterName
from app.errors import DuplicateContent, MemoryNotFound, NameTaken
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.memories import MemoryStore
from app.stores.redis import connect
from app.stores.versions import VersionStore


async def rebuild(settings: Settings) -> dict[str, Any]:
    """Restore every memory that the artifact store holds and the registry does not; return how many of what."""
    redis = connect(settings.registry_url)
    try:
        store = ArtifactStore.open(settings)
        return await restore(store, MemoryStore(redis), VersionStore(redis))
    finally:
        await redis.aclose()


async def restore(store: ArtifactStore, memories: MemoryStore, versions: VersionStore) -> dict[str, Any]:
    """Do it on open stores. What the registry holds already is left alone."""
    done = {"restored": 0, "ready": 0, "queued": 0, "already_there": 0, "refused": 0}
    for tenant, memory_id in await asyncio.to_thread(lambda: list(store.memories())):
        try:
            await memories.get(tenant, memory_id)
            done["already_there"] += 1
            continue
        except MemoryNotFound:
            record = await asyncio.to_thread(store.read_memory, tenant, memory_id)
        try:
            ready = await _restore_one(store, memories, versions, record)
        except (NameTaken, DuplicateContent):
            done["refused"] += 1
            continue
        done["restored"] += 1
        done["ready" if ready else "queued"] += 1
    return done


async def _restore_one(
    store: ArtifactStore, memories: MemoryStore, versions: VersionStore, record: dict[str, Any]
) -> bool:
    memory, last = Memory(**record["memory"]), _version(record["version"])
    published = await asyncio.to_thread(_published, store, memory)
    await memories.create(memory, last, unique_content=False)
    for name, manifest, note in published:
        fields = {
            "adapter": str(name),
            "digest": manifest["digest"],
            "size_bytes": manifest["size_bytes"],
            "scores": note["scores"],
        }
        row = Version(
            memory_id=memory.id,
            tenant=memory.tenant,
            number=name.version,
            state=State.READY,
            recipe=manifest["recipe"],
            documents=tuple(DocumentRef(**ref) for ref in manifest["documents"]),
            created_at=manifest["created_at"],
            updated_at=note["published_at"],
            **fields,
        )
        await versions.restore(row)
    if published:
        await memories.update(memory.tenant, memory.id, {"current": max(name.version for name, _, _ in published)})
    return bool(published) and published[-1][0].version == last.number


def _published(store: ArtifactStore, memory: Memory) -> list[tuple[AdapterName, dict[str, Any], dict[str, Any]]]:
    found = []
    for name in store.versions(memory.tenant, memory.id):
        note = store.read_published(name)
        if note:
            found.append((name, store.read_manifest(name), note))
    return found


def _version(fields: dict[str, Any]) -> Version:
    refs = tuple(DocumentRef(**ref) for ref in fields["documents"])
    return Version(**{**fields, "state": State(fields["state"]), "documents": refs})
