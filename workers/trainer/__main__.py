"""`python -m workers.trainer`: take training jobs until told to stop."""

import sys

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from app.logs import set_up_logs
from app.processes import exit_code_of
from app.settings import Settings, load_settings
from app.stores.queue import QUEUE
from workers.trainer import job
from workers.trainer.worker import SWEEP_S, TrainingWorker

__all__ = ["job", "main"]  # `job` is imported here so that the forked processes need not read PyTorch again


def main() -> int:
    """Run the worker; returns the exit code."""
    settings = load_settings()
    set_up_logs(settings.log_level, part="trainer")
    make_worker(settings).work(logging_level="WARNING")
    return 0


def make_worker(settings: Settings) -> TrainingWorker:
    """Build the worker that the settings describe."""
    connection = redis.Redis.from_url(settings.registry_url)
    queue = Queue(QUEUE, connection=connection, serializer=JSONSerializer)
    worker = TrainingWorker(
        [queue],
        connection=connection,
        serializer=JSONSerializer,
        worker_ttl=15 + SWEEP_S,
        maintenance_interval=SWEEP_S,
        log_job_description=False,
    )
    worker.settings = settings
    return worker


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
