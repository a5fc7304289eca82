"""Memories between installations: a version as one tar, and such a tar as a new memory.

    <folder>/manifest.json, adapter_config.json, adapter_model.safetensors, questions.jsonl, passages.jsonl
    <folder>/part-<n>/manifest.json, …                         in place of these, for each part where there are some
    <folder>/documents/<sha256>, documents/<sha256>.json       both of every document, so that the memory can grow
    <folder>/recipe.json, {coverage,examples,steps}.jsonl      may be missing
    <folder>/published.json                                    what the gate said elsewhere; never taken over

What is read of an import is checked and written anew; only the weights, their configuration, the documents as they came
and coverage, examples and steps are kept as they are. Selection alone reads one of these, the examples, and trusts no
row of it. An import is a candidate: the trainer finds it in place of training, and it must pass an engine's canary and
the gate like any other.
"""

import asyncio
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from app.core.engines import EngineRecord
from app.core.memory import Memory, Version
from app.core.names import AdapterName
from app.engines.fleet import Fleet
from app.errors import MemoryNotReady, NoEngine, NotFound, OtherBaseModel, TooMuch
from app.services.drafts import Options, checked_name, digest_of, name_from, new_memory, new_version
from app.services.parcel import FORMAT, RECIPE, WEIGHTS, Parcel, Places, Weights, open_parcel
from app.services.remember import Rememberer
from app.services.shapes import Base
from app.services.tar import Entry, tar_of, unpack
from app.settings import Settings
from app.stores.artifacts import MANIFEST, PUBLISHED, ArtifactStore
from app.stores.memories import Idempotency, MemoryStore
from app.stores.versions import VersionStore


class Exporter:
    """Gives versions away."""

    def __init__(self, versions: VersionStore, artifacts: ArtifactStore) -> None:
        self._versions, self._artifacts = versions, artifacts

    async def export(self, memory: Memory) -> tuple[str, Iterator[bytes]]:
        """Return the serving version as a tar, and what to call it.

        Raises:
            MemoryNotReady: no version serves yet.
            NotFound: the artifact store does not hold all of it.
        """
        if not memory.current:
            raise MemoryNotReady(f"Memory {memory.name!r} has no version that serves yet.")
        version = await self._versions.get(memory.tenant, memory.id, memory.current)
        name = f"{memory.id}.v{version.number}"
        return name, tar_of(await asyncio.to_thread(self._entries, version, name))

    def _entries(self, version: Version, folder: str) -> list[Entry]:
        sizes = self._artifacts.document_sizes(version.tenant, version.memory_id)
        found = []
        for number, adapter in enumerate(version.adapters, 1):
            place = f"{folder}/part-{number}" if version.parts else folder
            for path in sorted(self._artifacts.local_folder(AdapterName.parse(adapter)).iterdir()):
                stat = path.stat()
                found.append(Entry(f"{place}/{path.name}", stat.st_size, stat.st_mtime, partial(FileIO, path)))
        for file in [name for ref in version.documents for name in (ref.digest, f"{ref.digest}.json")]:
            if file not in sizes:
                raise NotFound(f"The artifact store has no documents/{file} of this memory: restore it from a backup.")
            opened = partial(self._artifacts.open_document, version.tenant, version.memory_id, file)
            found.append(Entry(f"{folder}/documents/{file}", sizes[file], version.created_at, opened))
        return found


class Importer:
    """Takes in what another installation, or this one, has exported."""

    def __init__(
        self, settings: Settings, memories: MemoryStore, artifacts: ArtifactStore, rememberer: Rememberer, fleet: Fleet
    ) -> None:
        self._settings, self._memories, self._artifacts = settings, memories, artifacts
        self._rememberer, self._fleet = rememberer, fleet

    async def take_in(self, tenant: str, tar: BinaryIO, name: str | None, *, key: str | None = None) -> str:
        """Make a new memory of an export, documents and weights; return its id.

        The same documents may be another memory's already: an import is asked for by its file.

        Args:
            tar: open at its beginning, and seekable.
            name: None takes the first document's.
            key: the client's Idempotency-Key.

        Raises:
            UnreadableExport, TooLarge: what came is no export; the text says why.
            NoEngine, OtherBaseModel, TooMuch: no engine is there that could serve the weights.
            InvalidName, NameTaken, IdempotencyMismatch: as they say. Nothing is kept then.
        """
        wanted = checked_name(name) if name is not None else None
        once = await asyncio.to_thread(_once, key, name, tar) if key else None
        if once and (seen := await self._memories.seen(tenant, once)):
            return seen
        served = await self._served()
        folder = await asyncio.to_thread(self._scratch)
        try:
            parcel = await asyncio.to_thread(self._open, tar, folder)
            _check_base(parcel.manifest.base, served)
            self._check_room(len(parcel.parts))
            refs = parcel.refs
            memory = new_memory(tenant, wanted or checked_name(name_from(refs[0].name)), refs, Options())
            judged_once = parcel.recipe.seeds - 1  # as it is: it is not trained anew where it fails
            version = replace(new_version(memory, refs, parcel.recipe), failed_seeds=judged_once)
            return await self._rememberer.accept(
                memory, version, lambda: self._keep(version, parcel), unique_content=False, once=once
            )
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _served(self) -> set[str]:
        """Return the digests of the base models that live engines serve."""
        if not self._fleet.engines:
            await self._fleet.refresh()
        return {engine.base_digest for engine in self._engines()}

    def _engines(self) -> Sequence[EngineRecord]:
        """Return the live engines; there were some when an import began, and they may be gone when it is unpacked."""
        if not self._fleet.engines:
            raise NoEngine("No engine is running to load the weights: start one with `lorekeep engine`, and try again.")
        return self._fleet.engines

    def _check_room(self, parts: int) -> None:
        room = max(engine.capacity for engine in self._engines())
        if parts > room:
            raise TooMuch(
                f"The memory has {parts} parts and no engine holds more than {room} adapters: raise "
                "LOREKEEP_MAX_CPU_LORAS, or send its documents to POST /v1/memories.",
                "file",
            )

    def _scratch(self) -> Path:
        """Return a new empty folder where trainers work too: the next training removes what a crash leaves there."""
        root = self._settings.home.resolve() / "scratch"
        root.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=root, prefix="import-"))

    def _open(self, tar: BinaryIO, folder: Path) -> Parcel:
        unpack(tar, Places(folder, self._settings.max_upload_bytes))
        return open_parcel(folder)

    def _keep(self, version: Version, parcel: Parcel) -> None:
        """Write the documents, then the weights under their new name."""
        for document, original in parcel.documents():
            self._artifacts.write_document(
                version.tenant, version.memory_id, document.digest, original, document.to_dict()
            )
        for part in parcel.parts:
            self._keep_part(version, part)

    def _keep_part(self, version: Version, part: Weights) -> None:
        folder, manifest = part.folder, part.manifest
        name = AdapterName(version.tenant, version.memory_id, version.number, manifest.digest[:12])
        fields = {
            "format": FORMAT,
            "name": str(name),
            "tenant": version.tenant,
            "memory_id": version.memory_id,
            "version": version.number,
            "digest": manifest.digest,
            "size_bytes": (folder / WEIGHTS).stat().st_size,
            "recipe": version.recipe,
            "documents": [asdict(ref) for ref in version.documents],
            "created_at": time.time(),
            **manifest.model_dump(include={"base", "canary", "trained_tokens", "part"}, exclude_none=True),
        }
        (folder / PUBLISHED).unlink(missing_ok=True)
        (folder / RECIPE).write_text(json.dumps(version.recipe, indent=2))
        (folder / MANIFEST).write_text(json.dumps(fields, indent=2, ensure_ascii=False))
        self._artifacts.publish(folder, name)


def _check_base(base: Base, served: Collection[str]) -> None:
    if base.digest not in served:
        ours = ", ".join(digest[:12] for digest in sorted(served))
        raise OtherBaseModel(
            f"The memory was trained on {base.name!r} ({base.digest[:12]}) and the engines serve {ours}: import it "
            "where that model is served, or send its documents to POST /v1/memories.",
            "file",
        )


def _once(key: str, name: str | None, tar: BinaryIO) -> Idempotency:
    digest = hashlib.file_digest(tar, "sha256").hexdigest()  # type: ignore[arg-type]
    tar.seek(0)
    return Idempotency(digest_of([key]), digest_of(["import", name, digest]))
