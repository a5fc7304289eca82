"""The queue on a real server."""

from typing import Any

import pytest
import redis
from rq.serializers import JSONSerializer
from rq.worker import SimpleWorker

from app.stores.queue import QUEUE, TrainingQueue
from app.stores.redis import Registry
from app.stores.versions import Job
from tests.factories import memory_id

pytestmark = pytest.mark.redis


@pytest.fixture
def queue(redis: Registry, registry_url: str) -> TrainingQueue:
    return TrainingQueue(registry_url)


def test_a_job_waits_once_however_often_it_is_queued(queue: TrainingQueue) -> None:
    jobs = [Job("acme", memory_id(), number) for number in (1, 2)]
    for job in [*jobs, *jobs]:
        queue.enqueue(job)

    assert queue.queued() == {str(job) for job in jobs}
    assert len(queue._queue.get_job_ids()) == 2


def test_a_stopped_job_waits_no_more_and_can_be_queued_again(queue: TrainingQueue) -> None:
    job = Job("acme", memory_id(), 1)
    queue.enqueue(job)
    queue.stop(job)
    gone = queue.queued()
    queue.stop(job)
    queue.enqueue(job)

    assert gone == set()
    assert queue.queued() == {str(job)}


def test_a_job_that_ends_while_it_is_stopped_is_no_failure(queue: TrainingQueue, registry_url: str) -> None:
    class Ending(redis.Redis):
        """A registry in which a job ends as soon as it was looked at."""

        def hgetall(self, name: Any) -> Any:
            found = super().hgetall(name)
            self.delete(name)
            return found

    job = Job("acme", memory_id(), 1)
    queue.enqueue(job)
    queue._redis = Ending.from_url(registry_url)
    queue.stop(job)

    assert queue.queued() == set()


def test_a_worker_gets_the_job_as_text(queue: TrainingQueue) -> None:
    job = Job("acme", memory_id(), 3)
    queue.enqueue(job)
    worker = SimpleWorker([queue._queue], connection=queue._redis, serializer=JSONSerializer)
    entry = worker.queues[0].jobs[0]

    assert (worker.queues[0].name, entry.func_name, entry.args) == (QUEUE, "workers.trainer.job.run", [str(job)])
    assert (entry.timeout, entry.id) == (-1, f"{job.memory_id}-v3")
