"""The RQ worker: one forked process a job, and a sweep that finds jobs nobody works on."""

import asyncio
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from rq import Queue
from rq.job import Job as QueuedJob
from rq.worker import Worker

from app.processes import die_with_parent
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.copies import sweep_copies
from app.stores.memories import MemoryStore
from app.stores.queue import TrainingQueue
from app.stores.redis import connect
from app.stores.versions import VersionStore
from workers.trainer.checkpoint import drop_leftovers
from workers.trainer.generated import Owner, drop_generated, owners

SWEEP_S = 5
FULL_MAINTENANCE_S = 600


class TrainingWorker(Worker):
    """RQ's worker, but that a job dies with it, and that it looks for lost jobs while it is idle."""

    settings: Settings
    max_connection_wait_time = 5.0
    _next_full = 0.0

    def run_maintenance_tasks(self) -> None:
        """Queue again what a crash has left; now and then drop old copies, and do what RQ does."""
        asyncio.run(_sweep(self.settings))
        if time.monotonic() >= self._next_full:
            self._next_full = time.monotonic() + FULL_MAINTENANCE_S
            asyncio.run(sweep_copies(ArtifactStore.open(self.settings)))
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self.last_cleaned_at = datetime.now(UTC)  # type: ignore[assignment]

    def main_work_horse(self, job: QueuedJob, queue: Queue) -> None:
        """Run one job in the forked process."""
        die_with_parent()
        super().main_work_horse(job, queue)

    def request_stop(self, signum: int, _frame: FrameType | None) -> None:
        """Stop at once: a job cut off is taken up again, while a warm shutdown would wait for minutes.

        Raises:
            SystemExit: always.
        """
        self.log.info("Worker %s: stopping on %s", self.name, signal.Signals(signum).name)
        if self.horse_pid:
            self.kill_horse()
            self.wait_for_horse()
        raise SystemExit


async def _sweep(settings: Settings) -> None:
    async with connect(settings.registry_url) as redis:
        versions = VersionStore(redis)
        await requeue_lost(versions, TrainingQueue(settings.registry_url), now=time.time())
        drop_leftovers(settings.home, await versions.open_jobs())
        gone = await gone_memories(MemoryStore(redis), owners(settings.home))
        drop_generated(settings.home, gone, now=time.time())


async def gone_memories(memories: MemoryStore, found: Sequence[Owner]) -> list[Owner]:
    """Return those that were deleted."""
    return [owner for owner in found if not await memories.is_there(*owner)]


async def requeue_lost(versions: VersionStore, queue: Any, *, now: float) -> int:
    """Queue every open job that neither waits in the queue nor is held by a trainer; return how many.

    Covers a gateway killed between accepting and queueing, and a trainer killed at any moment. Queueing a job
    twice does no harm: the second claim of it is refused.
    """
    waiting = queue.queued()
    lost = 0
    for job in await versions.open_jobs():
        version = await versions.get(job.tenant, job.memory_id, job.number)
        if str(job) not in waiting and version.lease_until < now:
            queue.enqueue(job)
            lost += 1
    return lost
