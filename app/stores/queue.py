"""The queue of training jobs: RQ, with names that are safe to enqueue twice. Blocks; coroutines use a thread."""

from contextlib import suppress

import redis
from rq import Queue
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer

from app.stores.versions import Job

QUEUE = "lorekeep-train"
FUNCTION = "workers.trainer.job.run"
FAILURE_TTL_S = 3600


class TrainingQueue:
    """Puts jobs where a trainer finds them. Losing an entry loses no job: trainers sweep the registry's open ones."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5)
        self._queue = Queue(QUEUE, connection=self._redis, serializer=JSONSerializer)

    def enqueue(self, job: Job) -> None:
        """Queue a job, unless it is in the queue already."""
        if str(job) not in self.queued():
            self._queue.enqueue(
                FUNCTION,
                str(job),
                job_id=_id(job),
                job_timeout=-1,
                result_ttl=0,
                failure_ttl=FAILURE_TTL_S,
            )

    def stop(self, job: Job) -> None:
        """Kill the process that works on a job; nothing where none does."""
        with suppress(NoSuchJobError):  # there was none, or it ended since it was looked at
            try:
                send_stop_job_command(self._redis, _id(job), serializer=JSONSerializer)
            except InvalidJobOperation:
                RqJob.fetch(_id(job), connection=self._redis, serializer=JSONSerializer).delete()

    def queued(self) -> set[str]:
        """Return the jobs that wait."""
        return {str(entry.args[0]) for entry in self._queue.jobs}


def _id(job: Job) -> str:
    return f"{job.memory_id}-v{job.number}"
