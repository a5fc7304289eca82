"""One training job, from its claim to a version that serves: the function RQ calls, in a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import structlog
from redis.exceptions import RedisError

from app.core.engines import EngineRecord
from app.core.gate import Decision, decide
from app.core.lifecycle import State
from app.core.memory import Version
from app.core.names import AdapterName, is_guard_id
from app.core.recipe import Recipe
from app.engines.client import EngineClient, engine_http
from app.errors import (
    Busy,
    EngineFailed,
    LeaseLost,
    MemoryNotFound,
    MemoryNotReady,
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
from app.stores.redis import connect
from app.stores.versions import Job, VersionStore
from workers.languages.exam import GuardExam
from workers.languages.make import GuardMaker
from workers.languages.run import Shop
from workers.trainer.control import ControlExam, encoded_texts
from workers.trainer.evaluate import Examiner
from workers.trainer.follow import Progress, attend
from workers.trainer.lease import Lease
from workers.trainer.make import CandidateMaker, Maker
from workers.trainer.write import Candidate, read_exam

log = structlog.get_logger()
ENGINE_WAIT_S = 300.0
PUT_BACK_S = 15.0
_PASSING = (Unavailable, EngineFailed, Busy, MemoryNotReady)
_UNCOUNTED = (NoEngine, Busy, MemoryNotReady)


@dataclass(frozen=True)
class Trainer:
    """What a job works with."""

    settings: Settings
    versions: VersionStore
    engines: EngineStore
    artifacts: ArtifactStore
    examiner: Examiner
    maker: Maker
    guards: GuardMaker | None = None

    def maker_of(self, version: Version) -> Maker:
        """Return what trains a version: of a memory, or of a language guard."""
        return self.guards if self.guards and is_guard_id(version.memory_id) else self.maker

    async def awaited(self, version: Version) -> dict[str, Any]:
        """Return what the row of a guard lacks for its training; raises `MemoryNotReady` while that cannot be said."""
        return await self.guards.awaited(version) if self.guards and is_guard_id(version.memory_id) else {}

    async def judge(self, version: Version, engine: EngineRecord) -> tuple[Progress, Decision]:
        """Ask a version whose adapters an engine holds; return its scores and whether it may serve."""
        if self.guards and is_guard_id(version.memory_id):
            return await self.guards.judge(version, engine)
        exams = {}
        for name in version.adapters:
            exams[name] = await asyncio.to_thread(read_exam, self.artifacts, AdapterName.parse(name))
        scores = await self.examiner.examine(engine, exams)
        return scores.to_dict(), decide(scores, Recipe.from_dict(version.recipe))


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
    timeout = httpx.Timeout(settings.engine_timeout.total_seconds(), connect=5)
    async with (
        connect(settings.registry_url) as redis,
        engine_http(timeout=timeout) as http,
        httpx.AsyncClient(timeout=timeout) as outside,
    ):
        client = EngineClient(http, engine_key(settings))
        engines = EngineStore(redis)
        control = ControlExam(client, settings.home / "control", partial(encoded_texts, settings.model))
        examiner = Examiner(engines, client, control, wait_s=ENGINE_WAIT_S)
        artifacts = ArtifactStore.open(settings)
        maker = CandidateMaker(settings, artifacts, examiner, outside, BaseStore(redis))
        memories, versions = MemoryStore(redis), VersionStore(redis)
        exam = GuardExam(client, control)
        guards = GuardMaker(Shop(settings, artifacts, engines, examiner, client), memories, versions, exam)
        yield Trainer(settings, versions, engines, artifacts, examiner, maker, guards)


async def work(trainer: Trainer, job: Job) -> None:
    """Claim a job and carry it to its end; do nothing when it is over or somebody else's.

    What will pass leaves the job to be taken up again a little later: for as long as no engine is there or has room, or
    the memory that a guard is for is not ready, and a limited number of times after any other failure of a service.
    Anything else fails the version with a sentence for its owner, but for a registry that is away: that ends the
    attempt, and whoever finds the lease over takes the job up again.
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
        erased = await asyncio.to_thread(_erase_leftovers, trainer.artifacts, job)
        log.info("job.taken_away", reason="deleted" if erased else "not_registered")
    except (LeaseLost, NotFound, StateConflict) as error:
        log.info("job.taken_away", reason=error.code)
    except _PASSING as error:
        log.warning("job.put_back", reason=error.code, detail=error.detail)


def _erase_leftovers(artifacts: ArtifactStore, job: Job) -> bool:
    """Erase what a job wrote after its memory was erased.

    As long as the record of a memory is there, its erasure is the gateway's; or only the registry has lost it, and its
    files are all that is left.
    """
    try:
        artifacts.read_memory(job.tenant, job.memory_id)
    except NotFound:
        artifacts.erase_memory(job.tenant, job.memory_id)
        return True
    return False


async def _attempt(trainer: Trainer, job: Job, fence: int, lease: Lease) -> None:
    version = await trainer.versions.get(job.tenant, job.memory_id, job.number)
    step = _Steps(trainer, version, fence)
    try:
        if version.attempt > trainer.settings.job_attempts:
            await step.fail("trainer_lost", f"Training was cut off {version.attempt - 1} times: see the trainer's log.")
            return
        await _carry_out(trainer, step, lease)
    except (LeaseLost, NotFound, StateConflict, RedisError):
        raise
    except _PASSING as error:
        counted = not isinstance(error, _UNCOUNTED)
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
    await step.to(State.PREPARING, **await trainer.awaited(step.version))
    candidates = await trainer.maker_of(step.version).make(
        step.version, tell=step.tell, begin_training=lambda: step.to(State.TRAINING), stop=lease.stop
    )
    await step.to(State.EVALUATING, _weights_of(candidates))
    engine = await trainer.examiner.load(*step.version.adapters, rank=step.version.recipe["rank"])
    scores, decision = await _judge(trainer, step, engine)
    if decision.passed:
        await step.to(State.PUBLISHING, {"scores": scores})
        await _publish(trainer, step)
        return
    if again := _next_seed(step.version):
        log.info("version.tried_again", seed=again["recipe"]["seed"], reason=decision.reason)
        await step.to(State.QUEUED, {"scores": scores, "attempt": 0, **again})
    else:
        error = {"code": "gate_failed", "message": decision.reason}
        await step.to(State.REJECTED, {"scores": scores, "error": error})
    for name in step.version.adapters:
        await trainer.engines.forget(name)


async def _judge(trainer: Trainer, step: _Steps, engine: EngineRecord) -> tuple[Progress, Decision]:
    """Judge a version, telling how many answers engines have given for it."""
    before = trainer.examiner.answered

    def progress() -> Progress:
        return {"stage": "evaluating", "done": trainer.examiner.answered - before}

    return await attend(trainer.judge(step.version, engine), progress, progress, step.tell)


def _next_seed(version: Version) -> dict[str, Any] | None:
    """Return what the next try changes, for a training may have been unlucky; None where there is none left."""
    recipe, failed = version.recipe, version.failed_seeds + 1
    if failed >= recipe.get("seeds", 1):
        return None
    return {"failed_seeds": failed, "recipe": {**recipe, "seed": (recipe["seed"] + 1) % 2**31}}


async def _publish(trainer: Trainer, step: _Steps) -> None:
    version = step.version
    first = AdapterName.parse(version.adapter)
    await asyncio.to_thread(trainer.artifacts.mark_published, first, version.scores, version.parts)
    await step.to(State.READY, {"error": None}, current=version.number)


def _weights_of(candidates: list[Candidate]) -> dict[str, Any]:
    names = tuple(str(one.name) for one in candidates)
    return {
        "adapter": names[0],
        "digest": candidates[0].digest,
        "size_bytes": sum(one.size_bytes for one in candidates),
        "parts": names if len(names) > 1 else (),
    }
