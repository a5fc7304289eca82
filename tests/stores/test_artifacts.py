"""The artifact store on a local disk and on a store without renames."""

from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from app.core.names import AdapterName
from app.errors import NotFound
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from tests.factories import memory_id


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        return ArtifactStore("memory://bucket/lorekeep", tmp_path / "cache")
    return ArtifactStore((tmp_path / "artifacts").as_uri(), tmp_path / "cache")


def a_staging(folder: Path, text: str = "weights") -> Path:
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_text(text)
    (folder / "manifest.json").write_text('{"digest": "d"}')
    (folder / "passages.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    return folder


def test_a_published_version_is_whole_and_readable(store: ArtifactStore, tmp_path: Path) -> None:
    adapter = AdapterName("acme", memory_id(), 1, "0" * 12)
    store.publish(a_staging(tmp_path / "s"), adapter)

    assert store.read_manifest(adapter) == {"digest": "d"}
    assert store.read_lines(adapter, "passages.jsonl") == [{"text": "one"}, {"text": "two"}]
    assert (store.local_folder(adapter) / "adapter_model.safetensors").read_text() == "weights"
    assert store.versions("acme", adapter.owner) == [adapter]
    assert not (tmp_path / "s").exists()


def test_artifacts_are_kept_under_a_home_whatever_it_is_called(tmp_path: Path) -> None:
    home = tmp_path / "a b%20é#?"
    store = ArtifactStore.open(Settings(home=home))
    adapter = AdapterName("acme", memory_id(), 1, "0" * 12)
    store.publish(a_staging(tmp_path / "s"), adapter)

    assert (home / "artifacts" / adapter.folder / "manifest.json").is_file()
    assert store.versions("acme", adapter.owner) == [adapter]


def test_publishing_again_after_a_crash_changes_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    adapter = AdapterName("acme", memory_id(), 1, "0" * 12)
    store.publish(a_staging(tmp_path / "a"), adapter)
    store.publish(a_staging(tmp_path / "b"), adapter)

    assert store.versions("acme", adapter.owner) == [adapter]
    assert not (tmp_path / "b").exists()


def test_a_version_is_published_only_once_it_was_marked_so(store: ArtifactStore, tmp_path: Path) -> None:
    adapter = AdapterName("acme", memory_id(), 1, "0" * 12)
    store.publish(a_staging(tmp_path / "s"), adapter)

    assert store.read_published(adapter) is None
    store.mark_published(adapter, {"adapter": 1.0})
    published = store.read_published(adapter)
    assert published is not None
    assert published["scores"] == {"adapter": 1.0}


def test_a_kill_that_leaves_a_half_written_mark_leaves_the_versions_files_fit_to_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore((tmp_path / "artifacts").as_uri(), tmp_path / "cache")
    adapter = AdapterName("acme", memory_id(), 1, "0" * 12)
    store.publish(a_staging(tmp_path / "s"), adapter)
    before = set(store.local_folder(adapter).iterdir())

    def killed(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        store.mark_published(adapter, {"adapter": 1.0})

    assert set(store.local_folder(adapter).iterdir()) == before
    store.erase_memory("acme", adapter.owner)
    assert not [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]


def test_a_version_without_its_manifest_does_not_exist(store: ArtifactStore) -> None:
    with pytest.raises(NotFound):
        store.local_folder(AdapterName("acme", memory_id(), 1, "0" * 12))


def test_documents_and_records_come_back_and_are_erased_with_their_memory(store: ArtifactStore, tmp_path: Path) -> None:
    kept, erased = memory_id(), memory_id()
    for one in (kept, erased):
        store.write_memory("acme", one, {"name": one})
        store.write_document("acme", one, "d" * 64, b"bytes", {"text": "é"})
    adapter = AdapterName("acme", erased, 1, "0" * 12)
    store.publish(a_staging(tmp_path / "s"), adapter)
    store.local_folder(adapter)

    assert store.read_document("acme", erased, "d" * 64) == {"text": "é"}
    assert sorted(store.memories()) == sorted([("acme", kept), ("acme", erased)])
    files, size = store.erase_memory("acme", erased)
    assert files == 6
    assert size > 0
    assert store.erase_memory("acme", erased) == (0, 0)
    with pytest.raises(NotFound):
        store.local_folder(adapter)
    assert list(store.memories()) == [("acme", kept)]


def test_a_copy_on_another_host_is_no_version_and_can_be_dropped_by_itself(
    store: ArtifactStore, tmp_path: Path
) -> None:
    adapter = AdapterName("acme", memory_id(), 1, "0" * 12)
    store.publish(a_staging(tmp_path / "s"), adapter)
    engine = ArtifactStore("memory://bucket/lorekeep" if not store._local else store._root, tmp_path / "engine")
    engine.local_folder(adapter)
    held = engine.holds(adapter)
    store.erase_memory("acme", adapter.owner)
    gone = engine.holds(adapter)
    engine.drop_cached("acme", adapter.owner)
    engine.drop_cached("acme", adapter.owner)

    assert (held, gone) == (True, False)
    assert not list(tmp_path.glob("engine/**/*.safetensors"))
    with pytest.raises(NotFound):
        engine.local_folder(adapter)


class Interrupted(MemoryFileSystem):  # type: ignore[misc]
    """A store at which others look, all the way, between the write and the removal of one look."""

    protocol = "interrupted"
    others: ClassVar[list[ArtifactStore]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("interrupted://")))

    def rm_file(self, path: str) -> None:
        while self.others:
            assert self.others.pop().writable()
        super().rm_file(path)


def test_two_looks_at_a_store_at_once_both_find_it_writable() -> None:
    fsspec.register_implementation("interrupted", Interrupted, clobber=True)
    store, other = [ArtifactStore("interrupted://bucket", Path()) for _ in range(2)]
    Interrupted.others.append(other)

    assert store.writable()
    assert Interrupted.others == []
