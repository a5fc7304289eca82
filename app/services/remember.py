"""Accepting documents: checked whole, kept, registered in one step, queued; or refused without a trace."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import structlog
from redis.exceptions import RedisError
from ulid import ULID

from app.core.documents import Document
from app.core.lifecycle import State
from app.core.memory import DocumentRef, Memory, Version
from app.core.recipe import training_of
from app.errors import DuplicateContent, InvalidRequest, MemoryNotFound, ServiceError
from app.services.documents import read_documents
from app.services.drafts import Ask, Options, checked_name, content_of, digest_of, name_from, new_memory, new_version
from app.services.guard_drafts import check_guardable, check_languages, guards_on
from app.services.plan import Planner
from app.stores.artifacts import ArtifactStore
from app.stores.memories import Idempotency, MemoryStore
from app.stores.queue import TrainingQueue
from app.stores.versions import Job, VersionStore

log = structlog.get_logger()
UPLOAD_S = 3600.0  # what is older is not being uploaded any more


@dataclass(frozen=True)
class Upload:
    """One file as it came."""

    name: str
    data: bytes


class Rememberer:
    """Makes memories and their further versions."""

    def __init__(
        self,
        memories: MemoryStore,
        versions: VersionStore,
        artifacts: ArtifactStore,
        queue: TrainingQueue,
        planner: Planner,
    ) -> None:
        self._memories, self._versions, self._artifacts, self._queue = memories, versions, artifacts, queue
        self._planner = planner
        self._growing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._noting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def remember(
        self, tenant: str, name: str | None, uploads: Sequence[Upload], options: Options, *, key: str | None = None
    ) -> str:
        """Accept documents as a new memory; return its id.

        Args:
            name: None takes the first document's.
            key: the client's Idempotency-Key.

        Raises:
            InvalidRequest: no documents, one that cannot be read (see `app.services.documents`), a language that no
                guard can be trained for, or a rank that no engine takes.
            TooMuch: the base model cannot hold them.
            NameTaken, DuplicateContent, IdempotencyMismatch: as they say. Nothing is kept then.
        """
        once = Idempotency(digest_of([key]), _request_digest(name, uploads, options)) if key else None
        if once and (seen := await self._memories.seen(tenant, once)):
            return seen
        wish = options.ask.wish()
        check_languages(options.languages)
        documents = _without_twins(await _read(uploads))
        checked = checked_name(name if name is not None else name_from(documents[0].document.name))
        refs = [_ref(one.document) for one in documents]
        memory = new_memory(tenant, checked, refs, options)
        recipe, plan = await self._planner.draft([one.document for one in documents], wish)
        if plan:
            check_guardable(options.languages, plan.partitions)
        guards = guards_on(memory, options.languages)
        for _, one in guards:
            self._planner.check_rank(one.recipe["rank"], "options.languages", "leave it out")
        version = new_version(memory, refs, recipe, plan)
        return await self.accept(
            memory,
            version,
            lambda: self._keep_documents(memory, documents),
            unique_content=not options.allow_duplicate,
            once=once,
            guards=guards,
        )

    async def accept(
        self,
        memory: Memory,
        version: Version,
        keep: Callable[[], None],
        *,
        unique_content: bool,
        once: Idempotency | None,
        guards: Sequence[tuple[Memory, Version]] = (),
    ) -> str:
        """Keep what a new memory is made of, then the record that restores it; register and queue it; return its id.

        What is kept is marked until the registry has taken it: see `drop_left_behind`.

        Args:
            keep: writes the files, in a thread; they are erased again unless the registry may hold the memory.
            guards: accepted with it, in the same step.

        Raises:
            NameTaken, DuplicateContent, IdempotencyMismatch: nothing is kept.
        """
        all_of_it = [(memory, version), *guards]
        try:
            await asyncio.to_thread(_each, all_of_it, self._artifacts.begin_accepting)
            await asyncio.to_thread(keep)
            await asyncio.to_thread(self._write_records, all_of_it)
            memory_id, made = await self._memories.create(
                memory, version, unique_content=unique_content, once=once, guards=guards
            )
        except BaseException as error:
            if isinstance(error, ServiceError) or await self._is_missing(memory):
                await asyncio.to_thread(_each, all_of_it, self._artifacts.erase_memory)
            raise
        if made:
            await asyncio.to_thread(_each, all_of_it, self._artifacts.end_accepting)
            for one, queued in all_of_it:
                await self.enqueue(Job(one.tenant, one.id, queued.number))
        else:
            await asyncio.to_thread(_each, all_of_it, self._artifacts.erase_memory)
        return memory_id

    async def _is_missing(self, memory: Memory) -> bool:
        """Say whether the registry surely does not hold a memory: an answer that was lost may have been a yes."""
        try:
            await self._memories.get(memory.tenant, memory.id)
        except MemoryNotFound:
            return True
        except RedisError as error:
            log.warning("memory.left_behind", memory_id=memory.id, error=type(error).__name__)
        return False

    async def drop_left_behind(self, now: float | None = None) -> None:
        """Erase what uploads have left that were cut off before they were accepted, by a kill or without a registry.

        Args:
            now: in seconds since the epoch; the clock's if not given.

        Raises:
            RedisError: only the registry can say what it holds; the rest is left for the next time.
        """
        for tenant, memory_id in await asyncio.to_thread(self._artifacts.accepting):
            if await self._memories.is_there(tenant, memory_id):
                await asyncio.to_thread(self._artifacts.end_accepting, tenant, memory_id)
            elif _begun_at(memory_id) < (now or time.time()) - UPLOAD_S and not await self._memories.is_buried(
                tenant, memory_id
            ):
                await asyncio.to_thread(self._artifacts.erase_memory, tenant, memory_id)
                log.info("memory.left_behind_dropped", memory_id=memory_id)

    def _write_records(self, accepted: Sequence[tuple[Memory, Version]]) -> None:
        for memory, version in accepted:
            self._artifacts.write_memory(memory.tenant, memory.id, to_record(memory, version))

    async def add_documents(self, memory: Memory, uploads: Sequence[Upload], ask: Ask) -> None:
        """Queue a new version made of the documents there are and these; one of the same name takes its place.

        Raises:
            DuplicateContent: nothing would change.
            InvalidRequest, TooMuch: as in `remember`; so is a document that a version has under another name.
            StateConflict: another gateway added a version at the same moment.
            MemoryNotFound: it was deleted meanwhile.
        """
        async with self._growing.setdefault(memory.id, asyncio.Lock()):
            memory = await self._memories.get(memory.tenant, memory.id)  # whoever was first may have added to it
            latest = await self._versions.get(memory.tenant, memory.id, memory.latest)
            wish = ask.wish(latest)
            documents = _without_twins(await _read(uploads))
            refs = {ref.name: ref for ref in latest.documents}
            refs |= {one.document.name: _ref(one.document) for one in documents}
            content = content_of(list(refs.values()))
            if content == memory.content:
                raise DuplicateContent("The memory holds these documents already: nothing would change.")
            _check_kept(documents, await self._versions.of(memory))
            grown = replace(memory, latest=memory.latest + 1, content=content)
            new = {one.document.digest: one.document for one in documents}
            union = await self._union(memory, refs.values(), new)
            version = new_version(grown, list(refs.values()), *await self._planner.draft(union, wish))
            await self._grow(memory, grown, version, documents)
        await self.enqueue(Job(memory.tenant, memory.id, version.number))

    async def _grow(self, memory: Memory, grown: Memory, version: Version, documents: Sequence["_Read"]) -> None:
        await asyncio.to_thread(self._keep_documents, memory, documents)
        try:
            await self._versions.add(memory, version, content=grown.content)
        except BaseException:
            await self._drop_unused(memory, documents)
            raise
        await self._note_version(version, latest=grown.latest, content=grown.content)

    async def _drop_unused(self, memory: Memory, documents: Sequence["_Read"]) -> None:
        """Erase what a refused version brought and no other version uses."""
        try:
            kept = await self._versions.of(await self._memories.get(memory.tenant, memory.id))
        except MemoryNotFound:
            kept = []  # deleted meanwhile; the eraser may have been through before these were written
        used = {ref.digest for version in kept for ref in version.documents}
        for digest in {one.document.digest for one in documents} - used:
            await asyncio.to_thread(self._artifacts.erase_document, memory.tenant, memory.id, digest)
        if not kept and not any(await asyncio.to_thread(self._artifacts.measure_memory, memory.tenant, memory.id)):
            await asyncio.to_thread(self._artifacts.erase_memory, memory.tenant, memory.id)  # the folders

    async def change(self, memory: Memory, fields: Mapping[str, Any], *, rollback: bool = False) -> None:
        """Set fields of a memory, in the registry and in the record that restores it.

        Raises:
            NameTaken, MemoryNotFound: nothing was changed.
        """
        if "name" in fields:
            await self._memories.rename(memory.tenant, memory.id, checked_name(fields["name"]))
        rest = {name: value for name, value in fields.items() if name != "name"}
        if rest:
            await self._memories.update(memory.tenant, memory.id, rest)

        def edit(record: dict[str, Any]) -> None:
            record["memory"] |= fields
            if rollback:
                record["rollback"] = {"version": fields["current"], "at": time.time()}

        await self._note(memory.tenant, memory.id, edit)

    async def _note_version(self, version: Version, **fields: Any) -> None:
        """Note the newest version as it is now, and fields of its memory, in the record that restores them."""

        def edit(record: dict[str, Any]) -> None:
            if version.number >= record["version"]["number"]:
                record["memory"] |= fields
                record["version"] = asdict(version)

        await self._note(version.tenant, version.memory_id, edit)

    async def _note(self, tenant: str, memory_id: str, edit: Callable[[dict[str, Any]], None]) -> None:
        """Edit the record that restores a memory, one edit at a time, unless it is marked for deletion."""
        async with self._noting.setdefault(memory_id, asyncio.Lock()):
            record = await asyncio.to_thread(self._artifacts.read_memory, tenant, memory_id)
            if "memory" in record:
                edit(record)
                await asyncio.to_thread(self._artifacts.write_memory, tenant, memory_id, record)

    async def retry(self, version: Version, ask: Ask) -> None:
        """Queue a version again that failed, was rejected or was cancelled.

        Raises:
            StateConflict: it is none of these.
            InvalidRequest: no live engine takes its rank.
            TooMuch: as in `remember`, where another recipe is asked for.
        """
        fields: dict[str, Any] = {"error": None, "attempt": 0, "progress": {}}
        if ask != Ask():
            documents = await self._union(version, version.documents, {})
            recipe, plan = await self._planner.draft(documents, ask.wish(version))
            fields |= {"recipe": recipe.to_dict(), "plan": plan.to_dict() if plan else None, "scores": {}}
            if training_of(fields["recipe"]) != training_of(version.recipe):
                fields["failed_seeds"] = 0
        else:
            self._planner.check_rank(version.recipe["rank"])
        queued = await self._versions.change(version, State.QUEUED, fields=fields)
        await self.enqueue(Job(version.tenant, version.memory_id, version.number))
        await self._note_version(queued)

    async def cancel(self, version: Version) -> None:
        """End a version's job, killing the process that works on it.

        Raises:
            StateConflict: it is over already.
        """
        cancelled = await self._versions.change(version, State.CANCELLED)
        await self.stop(Job(version.tenant, version.memory_id, version.number))
        await self._note_version(cancelled)

    async def enqueue(self, job: Job) -> None:
        """Put a job into the queue; where that fails, a trainer's sweep will."""
        try:
            await asyncio.to_thread(self._queue.enqueue, job)
        except RedisError as error:
            log.warning("job.not_queued", job=str(job), error=type(error).__name__)

    async def stop(self, job: Job) -> None:
        """Kill the process that works on a job; where that fails, its lost lease will."""
        try:
            await asyncio.to_thread(self._queue.stop, job)
        except RedisError as error:
            log.warning("job.not_stopped", job=str(job), error=type(error).__name__)

    async def _union(
        self, of: Memory | Version, refs: Iterable[DocumentRef], new: Mapping[str, Document]
    ) -> list[Document]:
        """Return documents by their references: those that just came, and those that are kept."""
        memory_id = of.id if isinstance(of, Memory) else of.memory_id
        read = partial(self._artifacts.read_document, of.tenant, memory_id)
        return [new.get(ref.digest) or Document.from_dict(await asyncio.to_thread(read, ref.digest)) for ref in refs]

    def _keep_documents(self, memory: Memory, documents: Sequence["_Read"]) -> None:
        for one in documents:
            content = one.document.to_dict()
            self._artifacts.write_document(memory.tenant, memory.id, one.document.digest, one.data, content)


def _each(all_of_it: Sequence[tuple[Memory, Version]], act: Callable[[str, str], object]) -> None:
    """Do something to the folder of each."""
    for memory, _ in all_of_it:
        act(memory.tenant, memory.id)


def _begun_at(memory_id: str) -> float:
    """Return when an id was minted, in seconds since the epoch."""
    return ULID.from_str(memory_id.partition("_")[2].upper()).timestamp


def to_record(memory: Memory, version: Version) -> dict[str, Any]:
    """Return what `memory.json` holds: the memory, and its newest version as its owner has queued or cancelled it."""
    return {"memory": asdict(memory), "version": asdict(version)}


@dataclass(frozen=True)
class _Read:
    document: Document
    data: bytes


async def _read(uploads: Sequence[Upload]) -> list[_Read]:
    if not uploads:
        raise InvalidRequest("Send at least one document: `file` in a form, or `documents` in JSON.", "documents")
    read = await read_documents([(upload.name, upload.data) for upload in uploads])
    return [_Read(document, upload.data) for document, upload in zip(read, uploads, strict=True)]


def _without_twins(documents: list[_Read]) -> list[_Read]:
    """Refuse one name for two documents, and one document under two names."""
    names: dict[str, str] = {}
    digests: dict[str, str] = {}
    for one in documents:
        name, digest = one.document.name, one.document.digest
        if name in names:
            raise InvalidRequest(f"Two documents are called {name!r}: give them names of their own.", "documents")
        if digest in digests:
            raise InvalidRequest(f"{name!r} and {digests[digest]!r} are the same document: send one.", "documents")
        names[name], digests[digest] = digest, name
    return documents


def _check_kept(documents: Sequence[_Read], versions: Sequence[Version]) -> None:
    """Refuse a document that a version has under another name: what was read of it is kept once, with its name."""
    kept = {ref.digest: ref for version in versions for ref in version.documents}
    for new in [_ref(one.document) for one in documents]:
        old = kept.get(new.digest, new)
        if old != new:
            raise InvalidRequest(f"{new.name!r} and {old.name!r} are the same document: send one.", "documents")


def _ref(document: Document) -> DocumentRef:
    return DocumentRef(document.name, document.digest, document.kind, document.size_bytes)


def _request_digest(name: str | None, uploads: Sequence[Upload], options: Options) -> str:
    files = [[upload.name, hashlib.sha256(upload.data).hexdigest()] for upload in uploads]
    return digest_of([name, files, asdict(options)])
