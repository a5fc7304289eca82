"""One training job, from its claim to a version that serves: the function RQ calls, in a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import structlog

from app.core.gate import Scores, decide
from app.core.lifecycle import State
from app.core.memory import Version
from app.core.names import AdapterName
from app.core.recipe import Recipe
from app.engines.client import EngineClient
from app.errors import (
    Busy,
    EngineFailed,
    LeaseLost,
    MemoryNotFound,
    NoEngine,
    NotFound,
    ServiceError,
    StateConflict,
    Unavailable,
)
from app.logs import set_up_logs
from app.secret_files import engine_key
from app.settings import Settings, load_settings
from app.stores.artifacts import ArtifactStore
from app.stores.bases import BaseStore
from app.stores.engines import EngineStore
from app.stores.memories import MemoryStore
from app.stores.redis import Registry, connect
from app.stores.versions import Job, VersionStore
from workers.trainer.evaluate import Examiner
from workers.trainer.lease import Lease
from workers.trainer.make import CandidateMaker, Maker
from workers.trainer.training import Progress
from workers.trainer.write import Candidate, read_exam

log = structlog.get_logger()
ENGINE_WAIT_S = 300.0
PUT_BACK_S = 15.0
_PASSING = (Unavailable, EngineFailed, Busy)


@dataclass(frozen=True)
class Trainer:
    """What a job works with."""

    settings: Settings
    memories: MemoryStore
    versions: VersionStore
    engines: EngineStore
    artifacts: ArtifactStore
    examiner: Examiner
    maker: Maker


def run(job_text: str) -> None:
    """Do one job; the name of this function is what the queue holds."""
    asyncio.run(_run(Job.parse(job_text)))


async def _run(job: Job) -> None:
    settings = load_settings()
    set_up_logs(settings.log_level, part="trainer", job=str(job))
    async with open_trainer(settings) as trainer:
        await work(trainer, job)


@asynccontextmanager
async def open_trainer(settings: Settings) -> AsyncIterator[Trainer]:
    """Connect a trainer to what the settings name."""
    redis: Registry = connect(settings.registry_url)
    timeout = httpx.Timeout(settings.engine_timeout.total_seconds(), connect=5)
    async with httpx.AsyncClient(timeout=timeout) as http:
        client = EngineClient(http, engine_key(settings))
        engines = EngineStore(redis)
        examiner = Examiner(engines, client, settings.home / "control", wait_s=ENGINE_WAIT_S)
        artifacts = ArtifactStore.open(settings)
        maker = CandidateMaker(settings, artifacts, examiner, http, BaseStore(redis))
        memories, versions = MemoryStore(redis), VersionStore(redis)
        yield Trainer(settings, memories, versions, engines, artifacts, examiner, maker)
    await redis.aclose()


async def work(trainer: Trainer, job: Job) -> None:
    """Claim a job and carry it to its end; do nothing when it is over or somebody else's.

    What will pass leaves the job to be taken up again a little later: for as long as no engine is there or has room,
    and a limited number of times after any other failure of a service. Anything else fails the version with a
    sentence for its owner.
    """
    lease_s = trainer.settings.job_lease.total_seconds()
    fence = await trainer.versions.claim(job, lease_s=lease_s)
    if not fence:
        log.info("job.passed_over")
        return
    try:
        async with Lease(trainer.versions, job, fence, lease_s) as lease:
            await _attempt(trainer, job, fence, lease)
    except MemoryNotFound:
        log.info("job.taken_away", reason="deleted")
        await asyncio.to_thread(trainer.artifacts.erase_memory, job.tenant, job.memory_id)
    except (LeaseLost, NotFound, StateConflict) as error:
        log.info("job.taken_away", reason=error.code)
    except _PASSING as error:
        log.warning("job.put_back", reason=error.code, detail=error.detail)


async def _attempt(trainer: Trainer, job: Job, fence: int, lease: Lease) -> None:
    version = await trainer.versions.get(job.tenant, job.memory_id, job.number)
    step = _Steps(trainer, version, fence)
    try:
        if version.attempt > trainer.settings.job_attempts:
            await step.fail("trainer_lost", f"Training was cut off {version.attempt - 1} times: see the trainer's log.")
            return
        await _carry_out(trainer, step, lease)
    except (LeaseLost, NotFound, StateConflict):
        raise
    except _PASSING as error:
        counted = not isinstance(error, (NoEngine, Busy))
        if counted and version.attempt >= trainer.settings.job_attempts:
            log.warning("version.failed", code=error.code)
            await step.fail(error.code, error.detail)
            return
        lease.wait_s, lease.counted = PUT_BACK_S, counted
        raise
    except ServiceError as error:
        log.warning("version.failed", code=error.code)
        await step.fail(error.code, error.detail)
    except Exception:  # the job boundary: an unforeseen error fails the version, never the trainer
        log.exception("version.failed", code="internal")
        await step.fail("internal", "Training failed unexpectedly: the trainer's log says where; `retry` tries again.")
        raise


class _Steps:
    """Moves one version on, under one fencing token."""

    def __init__(self, trainer: Trainer, version: Version, fence: int) -> None:
        self.version = version
        self._versions, self._fence = trainer.versions, fence

    async def to(self, state: State, fields: dict[str, Any] | None = None, **memory_fields: Any) -> None:
        """Change the state, and fields with it."""
        self.version = await self._versions.change(
            self.version, state, fence=self._fence, fields=fields, memory_fields=memory_fields
        )
        log.info("version.moved", state=state)

    async def tell(self, progress: Progress) -> None:
        """Record how far the stage is."""
        await self._versions.progress(self.version, self._fence, progress)

    async def fail(self, code: str, message: str) -> None:
        """End the version, saying why."""
        await self.to(State.FAILED, {"error": {"code": code, "message": message}})


async def _carry_out(trainer: Trainer, step: _Steps, lease: Lease) -> None:
    await step.to(State.PREPARING)
    candidates = await trainer.maker.make(
        step.version, tell=step.tell, begin_training=lambda: step.to(State.TRAINING), stop=lease.stop
    )
    await step.to(State.EVALUATING, _weights_of(candidates))
    scores = await _examined(trainer, step.version)
    recipe = Recipe.from_dict(step.version.recipe)
    decision = decide(scores, recipe)
    if decision.passed:
        await step.to(State.PUBLISHING, {"scores": scores.to_dict()})
        await _publish(trainer, step)
        return
    if recipe.seeds > 1:
        log.info("version.tried_again", seed=recipe.seed + 1, reason=decision.reason)
        await step.to(State.QUEUED, {"scores": scores.to_dict(), "attempt": 0, "recipe": _next_seed(recipe)})
    else:
        error = {"code": "gate_failed", "message": decision.reason}
        await step.to(State.REJECTED, {"scores": scores.to_dict(), "error": error})
    for name in step.version.adapters:
        await trainer.engines.forget(name)


async def _examined(trainer: Trainer, version: Version) -> Scores:
    """Load all of a version on one engine and ask it what its parts should know."""
    names = version.adapters
    engine = await trainer.examiner.load(*names)
    exams = [await asyncio.to_thread(read_exam, trainer.artifacts, AdapterName.parse(name)) for name in names]
    return await trainer.examiner.examine(engine, dict(zip(names, exams, strict=True)))


def _next_seed(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe of the next try: a training may have been unlucky."""
    return replace(recipe, seed=recipe.seed + 1, seeds=recipe.seeds - 1).to_dict()


async def _publish(trainer: Trainer, step: _Steps) -> None:
    version = step.version
    first = AdapterName.parse(version.adapter)
    await asyncio.to_thread(trainer.artifacts.mark_published, first, version.scores, version.parts)
    memory = await trainer.memories.get(version.tenant, version.memory_id)
    if memory.pinned:
        for name in version.adapters:
            await trainer.engines.pin(name)
    newest = {"current": version.number} if version.number >= memory.current else {}
    await step.to(State.READY, {"error": None}, **newest)


def _weights_of(candidates: list[Candidate]) -> dict[str, Any]:
    names = tuple(str(one.name) for one in candidates)
    return {
        "adapter": names[0],
        "digest": candidates[0].digest,
        "size_bytes": sum(one.size_bytes for one in candidates),
        "parts": names if len(names) > 1 else (),
    }
