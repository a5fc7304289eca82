"""`python -m workers.trainer`: describe the base model, then take training jobs until told to stop."""

import asyncio
import os
import sys

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from app.logs import set_up_logs
from app.processes import exit_code_of
from app.settings import Settings, load_settings
from app.stores.bases import BaseStore
from app.stores.queue import QUEUE
from app.stores.redis import connect
from workers.trainer import job
from workers.trainer.describe import describe_base
from workers.trainer.worker import SWEEP_S, TrainingWorker

__all__ = ["job", "main"]  # `job` is imported here so that the forked processes need not read PyTorch again


def main() -> int:
    """Run the worker; returns the exit code."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # else asking for CUDA here spoils it for the forks
    settings = load_settings()
    set_up_logs(settings.log_level, part="trainer")
    asyncio.run(tell_base(settings))
    make_worker(settings).work(logging_level="WARNING")
    return 0


async def tell_base(settings: Settings) -> None:
    """Let the gateway know which base model is trained on here: it plans by it."""
    shape = await asyncio.to_thread(describe_base, settings)
    async with connect(settings.registry_url) as registry:
        await BaseStore(registry).describe(shape)


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
