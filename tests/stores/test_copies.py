"""Copies of memories go from a machine that no erasure reached, and only those."""

from pathlib import Path

import fsspec
import pytest
from structlog.testing import capture_logs

from app.core.names import AdapterName
from app.stores.artifacts import ArtifactStore
from app.stores.copies import sweep_copies
from tests.factories import memory_id
from tests.stores.test_artifacts import a_staging, store

__all__ = ["store"]  # its fixture serves here too


def beside(store: ArtifactStore, home: Path) -> ArtifactStore:
    """Return the same store as another machine sees it."""
    return ArtifactStore(store._root if store._local else f"memory://{store._root}", home)


def embedded(store: ArtifactStore, tenant: str, owner: str) -> Path:
    """Let a memory or a guard be in the store, and something that was made of it here; return where that is."""
    store.write_document(tenant, owner, "d" * 64, b"Ada.", {})
    path = store.cache_path(AdapterName(tenant, owner, 1, "0" * 12), "embeddings.npz")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"vectors")
    return path


@pytest.mark.parametrize("kind", ["mem_", "lng_"])
async def test_copies_of_what_another_machine_erased_go_and_all_others_stay(
    store: ArtifactStore, tmp_path: Path, kind: str
) -> None:
    ids = [memory_id().replace("mem_", kind) for _ in range(2)]
    gone, stays = [embedded(store, "acme", one) for one in ids]
    of_another_tenant = embedded(store, "other", ids[0])
    beside(store, tmp_path / "other").erase_memory("acme", ids[0])

    await sweep_copies(store)

    assert not gone.parent.exists()
    assert stays.exists()
    assert of_another_tenant.exists()


async def test_copies_of_a_tenants_last_memory_go_too(store: ArtifactStore, tmp_path: Path) -> None:
    owner = memory_id()
    copy = embedded(store, "acme", owner)
    beside(store, tmp_path / "other").erase_memory("acme", owner)

    await sweep_copies(store)

    assert not copy.parent.exists()


async def test_every_part_that_was_copied_goes(tmp_path: Path) -> None:
    fsspec.filesystem("memory").store.clear()
    store = ArtifactStore("memory://bucket/lorekeep", tmp_path / "cache")
    owner = memory_id()
    parts = [AdapterName("acme", owner, 1, f"{number}" * 12) for number in range(2)]
    for part in parts:
        store.publish(a_staging(tmp_path / part.digest12), part)
    copies = [store.local_folder(part) for part in parts]
    await sweep_copies(store)
    kept = [copy.exists() for copy in copies]
    beside(store, tmp_path / "other").erase_memory("acme", owner)

    await sweep_copies(store)

    assert kept == [True, True]
    assert not copies[0].parent.exists()


async def test_what_a_generator_worded_is_not_taken_for_a_copy(store: ArtifactStore, tmp_path: Path) -> None:
    embedded(store, "acme", memory_id())
    worded = tmp_path / "cache" / "examples" / "acme" / memory_id()
    worded.mkdir(parents=True)

    await sweep_copies(store)

    assert worded.exists()


async def test_nothing_goes_where_the_disk_of_the_store_is_not_mounted(tmp_path: Path) -> None:
    store = ArtifactStore((tmp_path / "artifacts").as_uri(), tmp_path / "cache")
    copy = embedded(store, "acme", memory_id())
    (tmp_path / "artifacts").rename(tmp_path / "elsewhere")

    await sweep_copies(store)

    assert copy.exists()


@pytest.mark.parametrize(("error", "said"), [(TimeoutError, ("warning", None)), (RuntimeError, ("error", True))])
async def test_nothing_goes_and_nothing_breaks_while_the_store_is_away_and_a_fault_of_ours_is_logged_whole(
    tmp_path: Path, error: type[Exception], said: tuple[str, bool | None]
) -> None:
    class Away(ArtifactStore):
        def _list(self, folder: str) -> set[str] | None:
            raise error("the store's library says so")

    store = Away((tmp_path / "artifacts").as_uri(), tmp_path / "cache")
    copy = embedded(store, "acme", memory_id())

    with capture_logs() as logs:
        await sweep_copies(store)

    assert copy.exists()
    assert [(line["log_level"], line.get("exc_info")) for line in logs] == [said]
