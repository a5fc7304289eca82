"""One training of a guard: explore, train, explore again from what was trained; it can be taken up again."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import structlog
import torch

from app.core.composition import Composition
from app.core.engines import EngineRecord
from app.core.guard_recipe import GuardRecipe
from app.core.memory import Version
from app.core.names import BASE, AdapterName
from app.engines.client import EngineClient, Loaded
from app.errors import AdapterRejected, CompositeRejected, LeaseLost, NothingToLearn
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.engines import EngineStore
from workers.languages.canary import guard_canary
from workers.languages.engine_policy import EnginePolicy
from workers.languages.explore import Explorer, Found, Group, Policy
from workers.languages.judge import judge_of
from workers.languages.lesson import Lesson
from workers.languages.model import attach_guard
from workers.languages.torch_policy import TorchPolicy
from workers.languages.train import GuardLoop, GuardStep
from workers.trainer.checkpoint import EVERY_S, Checkpoint
from workers.trainer.evaluate import Examiner
from workers.trainer.follow import Progress, Tell, follow
from workers.trainer.model import load_base, save_adapter
from workers.trainer.null_space import general_rows
from workers.trainer.restraint import restraint
from workers.trainer.write import Candidate, scratch, write_candidate

log = structlog.get_logger()
INTERIM = 900_000_000  # version numbers of what an engine holds only to explore with


@dataclass(frozen=True)
class Shop:
    """What a guard is made with."""

    settings: Settings
    artifacts: ArtifactStore
    engines: EngineStore
    examiner: Examiner
    client: EngineClient

    async def add_up(self, engine: EngineRecord, memory: AdapterName, guard: AdapterName) -> tuple[str, Loaded]:
        """Make an engine hold a memory, and the sum of it and a guard; return the sum's name, and how it went."""
        both = Composition.sum_of([memory, guard])
        await self.engines.desire(engine.id, str(memory), time.time())
        await self.client.load(engine.url, str(memory))
        await self.engines.desire(engine.id, str(both.name), time.time())
        return str(both.name), await self.client.compose(engine.url, both)


@dataclass
class GuardRun:
    """One training of a guard, which can be taken up again after any step."""

    shop: Shop
    version: Version
    lesson: Lesson
    base: Path
    base_digest: str
    memory: AdapterName | None
    checkpoint: Checkpoint
    tell: Tell
    stop: threading.Event
    steps: list[GuardStep] = field(default_factory=list)
    found: list[Progress] = field(default_factory=list)
    groups: tuple[Group, ...] = ()
    iteration: int = 0
    before: int = 0  # steps of the iterations before
    began: float = field(default_factory=time.monotonic)
    begun_with: int = 0
    read: tuple[int, int] = (0, 0)  # of what the base model reads once, for all guards on it

    @property
    def recipe(self) -> GuardRecipe:
        """The version's recipe."""
        return self.lesson.paper.recipe

    async def open(self) -> None:
        """Load the model and what an attempt before has left, and tell what the base model reads for it."""
        await follow(self._open, lambda: self.read, self._read_told, self.tell)

    def _open(self) -> None:
        settings = self.shop.settings
        if settings.trainer_threads:
            torch.set_num_threads(settings.trainer_threads)
        memory = self.shop.artifacts.local_folder(self.memory) if self.memory else None
        model = load_base(str(self.base), settings.device, settings.dtype)
        self.model = attach_guard(model, self.recipe, memory)
        general, digest = general_rows(self.lesson.paper.tokenizer), self.base_digest
        held_back = restraint(self.model, general, self.recipe, settings.home, digest, on_read=self._note_read)
        self.loop = GuardLoop(self.model, self.recipe, held_back)
        state = self.checkpoint.load()
        if state:
            self.loop.resume(state["loop"])
            self.groups = tuple(Group(*map(tuple, fields)) for fields in state["groups"])
            self.steps = [GuardStep(**step) for step in state["steps"]]
            self.found, self.iteration, self.before = state["found"], state["iteration"], state["before"]
            self.begun_with = len(self.steps)

    async def run(self, begin_training: Callable[[], Awaitable[None]]) -> None:
        """Carry out every iteration that is left.

        Raises:
            NothingToLearn: the first exploration found too little that can teach.
        """
        if self.groups:  # of an attempt before
            await begin_training()
            if not await self._learn():
                return
        while self.iteration < self.recipe.iterations:
            found = await self._explore(self.iteration + 1)
            if self.steps and found.ends_training(self.recipe):
                break
            if not found.can_teach(self.recipe):
                told = f"{found.confused} of {found.answers} answers, {len(found.groups)} of which could be mended"
                raise NothingToLearn(
                    f"The model leaves {self.recipe.language} in {told}: too little for a guard. If it still says too "
                    "much in other languages, try strict, or prompts that show it."
                )
            self.groups, self.iteration, self.before = found.groups, self.iteration + 1, len(self.steps)
            await asyncio.to_thread(self._save)
            if self.iteration == 1:
                await begin_training()
            if not await self._learn():
                break

    def write(self, number: int) -> Candidate:
        """Write the weights as they are now under a version's number; blocks."""
        folder = scratch(self.shop.settings.home)
        save_adapter(self.model, folder)
        facts = {
            "base": {"digest": self.base_digest, "name": self.base.name},
            "canary": guard_canary(self.model, self.groups).to_dict(),
            "trained_tokens": sum(step.tokens for step in self.steps),
            "language": self.recipe.language,
            "memory": str(self.memory or ""),
        }
        rows = {"steps.jsonl": [asdict(step) for step in self.steps], "explorations.jsonl": self.found}
        return write_candidate(self.shop.artifacts, replace(self.version, number=number), folder, rows, **facts)

    async def _explore(self, iteration: int) -> Found:
        began, found = time.monotonic(), Found()
        policy, interim = await self._policy(iteration)
        try:
            paper = self.lesson.paper
            explorer = Explorer(policy, paper.tokenizer, judge_of(self.recipe), self.recipe, paper.ends)
            async for found in explorer.explore(self.lesson.prompts, iteration):
                await self.tell(self._told(found, iteration, time.monotonic() - began))
        finally:
            if interim:
                await self._drop(*interim)
            await asyncio.to_thread(self._erase_interim)
        self.found.append(self._told(found, iteration, time.monotonic() - began))
        return found

    async def _policy(self, iteration: int) -> tuple[Policy, tuple[EngineRecord, AdapterName] | None]:
        """Return what decodes as the model is now: an engine; this process where no engine can hold that."""
        ends: Collection[int] = self.lesson.paper.ends
        if iteration == 1:
            name = str(self.memory or BASE)
            engine = await self.shop.examiner.load(name) if self.memory else await self.shop.examiner.any_engine()
            return EnginePolicy(self.shop.client, engine.url, name, self.recipe, ends=ends), None
        candidate = await asyncio.to_thread(self.write, INTERIM + iteration)
        try:
            engine, name = await self._hold(candidate.name)
        except (AdapterRejected, CompositeRejected) as error:  # differs too little from the base, or is too large
            log.info("guard.explored_here", reason=error.detail)
            return TorchPolicy(self.model, self.recipe, ends=ends), None
        policy = EnginePolicy(self.shop.client, engine.url, name, self.recipe, ends=ends)
        return policy, (engine, candidate.name)

    async def _hold(self, guard: AdapterName) -> tuple[EngineRecord, str]:
        """Have an engine hold the guard as it is now, with the memory below it; return by what name.

        Raises:
            AdapterRejected: it differs too little from the base model to be told from it.
            CompositeRejected: only an approximation of both would fit, or their sum broke; nothing of it is held.
        """
        engine = await self.shop.examiner.load(str(guard), rank=self.recipe.rank)
        if not self.memory:
            return engine, str(guard)
        try:
            name, loaded = await self.shop.add_up(engine, self.memory, guard)
            if error := loaded.facts.get("compression_error"):
                raise CompositeRejected(f"the sum with the memory was compressed, {error:.3f} of it is lost")
        except CompositeRejected:
            await self._drop(engine, guard)
            raise
        return engine, name

    async def _drop(self, engine: EngineRecord, guard: AdapterName) -> None:
        held = [guard, *([Composition.sum_of([self.memory, guard]).name] if self.memory else ())]
        for name in reversed(held):  # the sum's files go with those of the guard
            await self.shop.engines.forget(str(name))
            await self.shop.client.remove(engine.url, str(name))

    def _erase_interim(self) -> None:
        for name in self.shop.artifacts.versions(self.version.tenant, self.version.memory_id):
            if name.version >= INTERIM:
                self.shop.artifacts.erase_version(name)

    async def _learn(self) -> bool:
        """Train on what was found; say whether there was a step, or what is confused was below its floor already."""
        await follow(self._train, lambda: len(self.steps), self._step_told, self.tell)
        return len(self.steps) > self.before

    def _note_read(self, done: int, total: int) -> None:
        self.read = done, total

    def _train(self) -> None:
        saved = time.monotonic()
        for step in self.loop.learn(self.groups, self.iteration):
            self.steps.append(step)
            if self.stop.is_set():
                raise LeaseLost("The job was taken away while it trained.")
            if time.monotonic() - saved > EVERY_S:
                self._save()
                saved = time.monotonic()

    def _save(self) -> None:
        groups = [[group.prefix, group.candidates, group.rewards] for group in self.groups]
        steps = [asdict(step) for step in self.steps]
        state = {"loop": self.loop.state(), "groups": groups, "steps": steps}
        self.checkpoint.save({**state, "found": self.found, "iteration": self.iteration, "before": self.before})

    def _read_told(self) -> Progress:
        done, total = self.read
        return {"stage": "reading", "done": done, "total": total}

    def _told(self, found: Found, iteration: int, seconds: float) -> Progress:
        return {
            "stage": "exploring",
            "iteration": iteration,
            "done": found.answers,
            "total": self.recipe.answers,
            "confused": found.confused,
            "empty": found.empty,
            "points": len(found.groups),
            "skipped": found.skipped,
            "tokens_per_s": round(found.tokens / max(seconds, 1e-3), 1),
            "seconds": round(seconds, 1),
        }

    def _step_told(self) -> Progress:
        last, own = self.steps[-1], self.steps[self.begun_with :]
        elapsed = time.monotonic() - self.began
        return {
            "stage": "training",
            "step": last.index,
            "steps": last.steps,
            "iteration": last.iteration,
            "epoch": last.epoch,
            **{name: round(getattr(last, name), 4) for name in ("objective", "kl", "clipped", "valid", "confused")},
            "tokens_per_s": round(sum(step.tokens for step in own) / max(elapsed, 1e-3), 1),
        }
