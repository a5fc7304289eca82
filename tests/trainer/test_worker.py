"""What a worker does beside its jobs: it describes its base model, and finds jobs that crashes have left."""

import time
from pathlib import Path

import pytest

from app.core.lifecycle import State
from app.core.recipe import Recipe
from app.settings import Settings
from app.stores.bases import BaseStore
from app.stores.memories import MemoryStore
from app.stores.redis import Registry
from app.stores.versions import Job, VersionStore
from tests.factories import a_memory
from tests.trainer.tiny import byte_tokenizer, llama
from workers.base_model import base_digest
from workers.trainer.__main__ import make_worker, tell_base
from workers.trainer.worker import gone_memories, requeue_lost

pytestmark = pytest.mark.redis


class Waiting:
    """A queue that holds names only."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    def queued(self) -> set[str]:
        return set(self.jobs)

    def enqueue(self, job: Job) -> None:
        self.jobs.append(str(job))


async def test_the_gateway_is_told_of_the_base_model(redis: Registry, registry_url: str, tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path / "tiny")
    byte_tokenizer().save_pretrained(tmp_path / "tiny")
    await tell_base(Settings(_env_file=None, home=tmp_path, redis_url=registry_url, base_model=str(tmp_path / "tiny")))

    base = await BaseStore(redis).current()

    assert base
    assert base.shape.digest == base_digest(tmp_path / "tiny", tmp_path)
    assert base.shape.lora_parameters(1, Recipe(layers_from=0)) == 2 * 3 * (32 + 64)


async def test_a_job_that_was_accepted_but_never_queued_is_queued_once(redis: Registry, job: Job) -> None:
    queue = Waiting()

    assert await requeue_lost(VersionStore(redis), queue, now=time.time()) == 1
    assert await requeue_lost(VersionStore(redis), queue, now=time.time()) == 0
    assert queue.jobs == [str(job)]


async def test_a_job_that_a_trainer_holds_is_left_alone_until_its_lease_is_over(redis: Registry, job: Job) -> None:
    await VersionStore(redis).claim(job, lease_s=60)

    assert await requeue_lost(VersionStore(redis), Waiting(), now=time.time()) == 0
    assert await requeue_lost(VersionStore(redis), Waiting(), now=time.time() + 61) == 1


async def test_a_job_that_is_over_is_not_queued(redis: Registry, job: Job) -> None:
    versions = VersionStore(redis)
    await versions.change(await versions.get(job.tenant, job.memory_id, 1), State.CANCELLED)

    assert await requeue_lost(versions, Waiting(), now=time.time()) == 0


async def test_only_what_was_worded_for_deleted_memories_is_dropped(redis: Registry, job: Job) -> None:
    kept, gone = (job.tenant, job.memory_id), (job.tenant, a_memory().id)

    assert await gone_memories(MemoryStore(redis), [kept, gone, ("other", job.memory_id)]) == [
        gone,
        ("other", job.memory_id),
    ]


def test_an_idle_trainer_drops_copies_of_what_was_erased_while_it_was_away(registry_url: str, tmp_path: Path) -> None:
    worker = make_worker(Settings(_env_file=None, home=tmp_path, redis_url=registry_url))
    copy = tmp_path / "cache" / "acme" / "memories" / a_memory().id
    copy.mkdir(parents=True)
    (tmp_path / "artifacts" / "acme" / "memories").mkdir(parents=True)
    worker.run_maintenance_tasks()

    assert not copy.exists()
