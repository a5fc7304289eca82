"""Documents and adapters in an fsspec store: the truth that the registry indexes.

    <tenant>/memories/<memory id>/memory.json                 what was accepted; restores a memory that Redis lost
    <tenant>/memories/<memory id>/accepting                   there as long as nobody was told that it was accepted
    <tenant>/memories/<memory id>/documents/<sha256>          the bytes as they came
    <tenant>/memories/<memory id>/documents/<sha256>.json     what was read from them
    <tenant>/memories/<memory id>/v<n>.<digest12>/            one version, or one part of it; whole or absent
    <tenant>/languages/<guard id>/                            the same of a language guard; its document is its prompts

Every write is atomic: a rename on local disks, a single put elsewhere, where `manifest.json` comes last and a folder
without one does not exist. Calls block; coroutines run them in a thread.
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from app.core.names import AdapterName, check_tenant, folder_of, is_guard_id, is_memory_id
from app.errors import NotFound, StartupError
from app.settings import Settings

MANIFEST = "manifest.json"
PUBLISHED = "published.json"
ACCEPTING = "accepting"


class ArtifactStore:
    """One store under one root; the only place that turns names into paths."""

    def __init__(self, url: str, cache: Path) -> None:
        """Open the store.

        Args:
            url: an fsspec URL such as `file:///…` or `s3://bucket/prefix`.
            cache: where versions are copied to when the store is not a local disk.
        """
        library, self._root = fsspec.core.url_to_fs(url)
        self._local = "file" in ((library.protocol,) if isinstance(library.protocol, str) else library.protocol)
        self._fs = _Calls(library)
        self._cache = cache

    @classmethod
    def open(cls, settings: Settings) -> "ArtifactStore":
        """Open the store that the settings name.

        Raises:
            StartupError: there is no such kind of store, or its library is not installed.
        """
        try:
            return cls(settings.artifacts_url, settings.home.resolve() / "cache")
        except (ValueError, ImportError) as error:
            raise StartupError(f"LOREKEEP_ARTIFACTS is {settings.artifacts}: {error}.") from error

    def writable(self) -> bool:
        """Say whether the store takes writes now."""
        probe = f"{self._root}/.probe"
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(probe, b"")
            with suppress(FileNotFoundError):  # another look at the store was faster
                self._fs.rm_file(probe)
        except OSError:
            return False
        return True

    # documents

    def write_document(
        self, tenant: str, memory_id: str, digest: str, original: bytes, content: dict[str, Any]
    ) -> None:
        """Keep one document: the bytes as they came and what was read from them."""
        folder = f"{_memory_folder(tenant, memory_id)}/documents"
        self._put(f"{folder}/{digest}", original)
        self._put(f"{folder}/{digest}.json", _to_json(content))

    def read_document(self, tenant: str, memory_id: str, digest: str) -> dict[str, Any]:
        """Return what was read from a document.

        Raises:
            NotFound: the store does not hold it.
        """
        return self._get_json(f"{_memory_folder(tenant, memory_id)}/documents/{digest}.json")

    def document_sizes(self, tenant: str, memory_id: str) -> dict[str, int]:
        """Return the files of all documents kept under this id, two for each, with their sizes in bytes."""
        folder = f"{self._root}/{_memory_folder(tenant, memory_id)}/documents"
        self._fs.invalidate_cache()
        found = self._fs.find(folder, detail=True) if self._fs.exists(folder) else {}
        return {str(path).rsplit("/", 1)[-1]: int(info["size"]) for path, info in found.items()}

    def open_document(self, tenant: str, memory_id: str, file: str) -> BinaryIO:
        """Open one of these files."""
        opened: BinaryIO = self._fs.open(f"{self._root}/{_memory_folder(tenant, memory_id)}/documents/{file}", "rb")
        return opened

    def erase_document(self, tenant: str, memory_id: str, digest: str) -> None:
        """Drop a document that no version came to use."""
        for name in (digest, f"{digest}.json"):
            path = f"{self._root}/{_memory_folder(tenant, memory_id)}/documents/{name}"
            if self._fs.exists(path):
                self._fs.rm_file(path)

    # memories

    def write_memory(self, tenant: str, memory_id: str, record: dict[str, Any]) -> None:
        """Keep what was accepted under this id, replacing what was there."""
        self._put(f"{_memory_folder(tenant, memory_id)}/memory.json", _to_json(record))

    def read_memory(self, tenant: str, memory_id: str) -> dict[str, Any]:
        """Return what was accepted under this id.

        Raises:
            NotFound: the store does not hold it.
        """
        return self._get_json(f"{_memory_folder(tenant, memory_id)}/memory.json")

    def begin_accepting(self, tenant: str, memory_id: str) -> None:
        """Mark what is written under this id from now on as not accepted yet."""
        self._put(f"{_memory_folder(tenant, memory_id)}/{ACCEPTING}", b"")

    def end_accepting(self, tenant: str, memory_id: str) -> None:
        """Take that mark away, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{_memory_folder(tenant, memory_id)}/{ACCEPTING}")

    def accepting(self) -> list[tuple[str, str]]:
        """Return the tenant and id of everything that bears the mark."""
        return list(self._holding(ACCEPTING))

    def memories(self) -> Iterator[tuple[str, str]]:
        """Yield the tenant and id of every memory and language guard that was accepted, or is about to be."""
        return self._holding("memory.json")

    def _holding(self, file: str) -> Iterator[tuple[str, str]]:
        self._fs.invalidate_cache()
        for path in self._fs.glob(f"{self._root}/*/*/*/{file}"):
            tenant, _, memory_id, _ = str(path).split("/")[-4:]
            if is_memory_id(memory_id) or is_guard_id(memory_id):
                yield tenant, memory_id

    def measure_memory(self, tenant: str, memory_id: str) -> tuple[int, int]:
        """Return how many files are kept under this id, and how many bytes they hold."""
        folder = f"{self._root}/{_memory_folder(tenant, memory_id)}"
        files = self._fs.find(folder, detail=True) if self._fs.exists(folder) else {}
        return len(files), sum(int(info["size"]) for info in files.values())

    def erase_memory(self, tenant: str, memory_id: str) -> tuple[int, int]:
        """Erase everything kept under this id; erasing again erases nothing.

        Returns:
            How many files, and how many bytes they held.
        """
        folder = f"{self._root}/{_memory_folder(tenant, memory_id)}"
        found = self.measure_memory(tenant, memory_id)
        if self._fs.exists(folder):
            self._fs.rm(folder, recursive=True)
        self.drop_cached(tenant, memory_id)
        self._fs.invalidate_cache()
        return found

    # versions

    def publish(self, staging: Path, adapter: AdapterName) -> None:
        """Move a finished local folder to its final place in one step.

        A version that is already there is left alone: its name holds its digest, so it is the same one.
        """
        if self._local:
            target = Path(self._root) / adapter.folder
            target.parent.mkdir(parents=True, exist_ok=True)
            inside = target.parent / f".{target.name}.{secrets.token_hex(4)}"
            shutil.move(staging, inside)
            _sync(inside)
            try:
                inside.rename(target)
            except OSError:
                shutil.rmtree(inside)
                if not (target / MANIFEST).is_file():
                    raise
            return
        for file in sorted(staging.iterdir(), key=lambda path: path.name == MANIFEST):
            self._fs.put_file(str(file), f"{self._root}/{adapter.folder}/{file.name}")
        shutil.rmtree(staging)

    def erase_version(self, adapter: AdapterName) -> None:
        """Erase one version's files; no engine may hold it."""
        self._fs.rm(f"{self._root}/{adapter.folder}", recursive=True)
        self._fs.invalidate_cache()

    def mark_published(self, adapter: AdapterName, scores: dict[str, Any], parts: Sequence[str] = ()) -> None:
        """Note beside a version's files that it passed its gate, for a registry that is rebuilt.

        Args:
            parts: the names of all its parts, whose first one the adapter is.
        """
        note = {"published_at": time.time(), "scores": scores, "parts": list(parts)}
        self._put(f"{adapter.folder}/{PUBLISHED}", _to_json(note))

    def read_published(self, adapter: AdapterName) -> dict[str, Any] | None:
        """Return that note; None when the version never passed."""
        try:
            return self._get_json(f"{adapter.folder}/{PUBLISHED}")
        except NotFound:
            return None

    def local_folder(self, adapter: AdapterName) -> Path:
        """Return a local folder with the version's files, copying them here first where the store is remote.

        Raises:
            NotFound: the version is not in the store, whole.
        """
        if self._local:
            folder = (Path(self._root) / adapter.folder).resolve()
            if not folder.is_relative_to(Path(self._root).resolve()) or not (folder / MANIFEST).is_file():
                raise NotFound(f"Adapter {adapter} is not in the artifact store.")
            return folder
        folder = self._cache / adapter.folder
        if not folder.exists():
            self._download(adapter, folder)
        return folder

    def holds(self, adapter: AdapterName) -> bool:
        """Say whether the version is in the store, whole; a copy of it here does not count."""
        self._fs.invalidate_cache()
        try:
            self._fs.info(f"{self._root}/{adapter.folder}/{MANIFEST}")  # `exists` takes an outage for an absence
        except FileNotFoundError:
            return False
        return True

    def drop_cached(self, tenant: str, memory_id: str) -> None:
        """Erase what was copied here of a memory."""
        cached = self._cache / _memory_folder(tenant, memory_id)
        if cached.exists():
            shutil.rmtree(cached)

    def drop_orphans(self) -> None:
        """Erase what was copied here of memories that the store no longer holds.

        What is here is listed first: nothing of a memory is copied before the store holds it.
        """
        copies = [folder for kind in ("mem_*", "lng_*") for folder in self._cache.glob(f"*/{folder_of(kind)}")]
        for shelf in {folder.parent for folder in copies}:
            held = self._list(shelf.relative_to(self._cache).as_posix())
            for folder in copies:
                if folder.parent == shelf and held is not None and folder.name not in held:
                    with suppress(FileNotFoundError):  # another process drops it too
                        shutil.rmtree(folder)

    def read_manifest(self, adapter: AdapterName) -> dict[str, Any]:
        """Return a version's manifest.

        Raises:
            NotFound: the version is not in the store, whole.
        """
        return self._get_json(f"{adapter.folder}/{MANIFEST}")

    def read_lines(self, adapter: AdapterName, name: str) -> list[dict[str, Any]]:
        """Return the rows of one of a version's JSONL files.

        Raises:
            NotFound: the version has no such file.
        """
        return [json.loads(line) for line in self._get(f"{adapter.folder}/{name}").splitlines()]

    def read_file(self, adapter: AdapterName, name: str) -> bytes:
        """Return one of a version's files.

        Raises:
            NotFound: the version has no such file.
        """
        return self._get(f"{adapter.folder}/{name}")

    def cache_path(self, adapter: AdapterName, name: str) -> Path:
        """Return where on this machine to keep what was made of a version: erased with its memory."""
        folder = self._cache / _memory_folder(adapter.tenant, adapter.owner)
        return folder / f"v{adapter.version}.{adapter.digest12}-{name}"

    def versions(self, tenant: str, memory_id: str) -> list[AdapterName]:
        """List the versions of one memory, and the parts of versions, that are whole, oldest first."""
        found = []
        for path in self._fs.glob(f"{self._root}/{_memory_folder(tenant, memory_id)}/v*/{MANIFEST}"):
            found.append(AdapterName.parse(f"{tenant}.{memory_id}.{str(path).split('/')[-2]}"))
        return sorted(found, key=lambda adapter: adapter.version)

    def _download(self, adapter: AdapterName, folder: Path) -> None:
        if not self._fs.exists(f"{self._root}/{adapter.folder}/{MANIFEST}"):
            raise NotFound(f"Adapter {adapter} is not in the artifact store.")
        part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        part.mkdir(parents=True)
        for path in self._fs.ls(f"{self._root}/{adapter.folder}", detail=False):
            self._fs.get_file(path, str(part / str(path).rsplit("/", 1)[-1]))
        try:
            part.rename(folder)
        except OSError:  # another process was first; its copy is the same
            shutil.rmtree(part)

    def _list(self, folder: str) -> set[str] | None:
        """Return the names in a folder of the store; None where a disk is not mounted that has it."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:  # on a disk, erasing leaves it there, empty
            return None if self._local else set()
        return {str(path).rstrip("/").rsplit("/", 1)[-1] for path in found}

    def _put(self, path: str, data: bytes) -> None:
        full = f"{self._root}/{path}"
        if not self._local:
            self._fs.pipe_file(full, data)
            return
        target = Path(full)
        target.parent.mkdir(parents=True, exist_ok=True)
        # in the memory's own folder: a kill may leave it, and a version's holds only what an engine may read
        part = Path(self._root, *path.split("/")[:3], f".{target.name}.{secrets.token_hex(4)}")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(target)

    def _get(self, path: str) -> bytes:
        try:
            return bytes(self._fs.cat_file(f"{self._root}/{path}"))
        except FileNotFoundError as error:
            raise NotFound("That is not in the artifact store.") from error

    def _get_json(self, path: str) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self._get(path))
        return fields


class _Calls:
    """The calls of a filesystem: what one raises is an OSError, whatever error of its own its library has for it."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._library, name)

        def translated(*args: Any, **options: Any) -> Any:
            try:
                return call(*args, **options)
            except OSError:
                raise
            except Exception as error:
                raise OSError(f"{type(error).__name__}: {error}") from error

        return translated


def _memory_folder(tenant: str, memory_id: str) -> str:
    assert is_memory_id(memory_id) or is_guard_id(memory_id), "ids are minted by the server"
    return f"{check_tenant(tenant)}/{folder_of(memory_id)}"


def _to_json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _sync(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
