"""A guard's job, beside a memory's: its weights, and the exam that decides whether they may serve."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.core.engines import EngineRecord
from app.core.gate import Decision
from app.core.guard_gate import decide_guard
from app.core.guard_recipe import GuardRecipe
from app.core.lifecycle import UNSUCCESSFUL
from app.core.memory import Memory, Version
from app.core.names import BASE, AdapterName
from app.errors import MemoryFailed, MemoryNotReady, NotFound
from app.stores.memories import MemoryStore
from app.stores.versions import VersionStore
from workers.base_model import base_digest, find_base
from workers.chat import load_tokenizer, stop_ids
from workers.languages.exam import GuardExam
from workers.languages.lesson import Lesson, make_lesson
from workers.languages.run import GuardRun, Shop
from workers.trainer.checkpoint import Checkpoint
from workers.trainer.follow import Progress, Tell
from workers.trainer.write import Candidate, find_candidates


@dataclass(frozen=True)
class GuardMaker:
    """Makes guards of versions, and asks them."""

    shop: Shop
    memories: MemoryStore
    versions: VersionStore
    exam: GuardExam

    async def awaited(self, version: Version) -> dict[str, Any]:
        """Return the fields that a guard's row lacks: the memory's version to train it on top of, chosen once for all.

        Raises:
            MemoryNotReady: the memory does not serve yet.
            MemoryFailed: it never will, or has parts.
        """
        guard = await self.memories.get(version.tenant, version.memory_id)
        if "memory" not in guard.metadata or "adapter" in guard.metadata:
            return {}
        memory = await self._memory_below(guard)
        adapter, *others = await self.versions.adapters(memory.tenant, memory.id, memory.current)
        if others:
            raise MemoryFailed(
                f"Memory {memory.name!r} has {len(others) + 1} parts, and a guard is trained on top of one adapter: "
                "train one on the base model with POST /v1/languages."
            )
        return {"metadata": {**guard.metadata, "version": str(memory.current), "adapter": adapter}}

    async def _memory_below(self, guard: Memory) -> Memory:
        """Return the memory that a guard is to be trained on top of; raises what `awaited` does."""
        try:
            memory = await self.memories.get(guard.tenant, guard.metadata["memory"])
            latest = await self.versions.get(memory.tenant, memory.id, memory.latest)
        except NotFound as error:
            raise MemoryFailed(
                "The memory that this guard was for is deleted: train another with POST /v1/languages."
            ) from error
        if memory.current:
            return memory
        if latest.state in UNSUCCESSFUL:
            raise MemoryFailed(
                f"Memory {memory.name!r}, which this guard is for, is {latest.state}: retry it, and when it is ready "
                "train a guard on top of it with POST /v1/languages."
            )
        raise MemoryNotReady(f"Memory {memory.name!r} is {latest.state}: its guard waits for it.")

    async def make(
        self, version: Version, *, tell: Tell, begin_training: Callable[[], Awaitable[None]], stop: threading.Event
    ) -> list[Candidate]:
        """See `workers.trainer.make.Maker`; a guard is one candidate.

        Raises:
            NothingToLearn: the model hardly ever leaves the language.
        """
        await self._keep_below(version)
        base = await asyncio.to_thread(find_base, self.shop.settings.model)
        digest = await asyncio.to_thread(base_digest, base, self.shop.settings.home)
        found = await asyncio.to_thread(find_candidates, self.shop.artifacts, version, digest)
        if found:
            await begin_training()
            return list(found.values())
        run = await self._open(version, base, digest, tell, stop)
        await run.run(begin_training)
        candidate = await asyncio.to_thread(run.write, version.number)
        await asyncio.to_thread(run.checkpoint.drop)
        return [candidate]

    async def _keep_below(self, version: Version) -> None:
        """Write what the guard is trained on top of into the record that restores it."""
        guard = await self.memories.get(version.tenant, version.memory_id)
        if "memory" not in guard.metadata:
            return
        record = await asyncio.to_thread(self.shop.artifacts.read_memory, guard.tenant, guard.id)
        if "memory" in record and record["memory"]["metadata"] != guard.metadata:
            record["memory"]["metadata"] = guard.metadata
            await asyncio.to_thread(self.shop.artifacts.write_memory, guard.tenant, guard.id, record)

    async def judge(self, version: Version, engine: EngineRecord) -> tuple[Progress, Decision]:
        """Ask a guard that the engine holds; return its scores and whether it may serve."""
        base = await asyncio.to_thread(find_base, self.shop.settings.model)
        lesson = await self._lesson(version, base)
        memory = await self.memory_of(version)
        after, lost = version.adapter, None
        if memory:
            after, loaded = await self.shop.add_up(engine, memory, AdapterName.parse(after))
            lost = loaded.facts.get("compression_error")
        compared = await self.exam.compare(engine.url, str(memory or BASE), after, lesson.paper)
        scores = replace(compared, compression_error=lost)
        return scores.to_dict(), decide_guard(scores, lesson.paper.recipe)

    async def memory_of(self, version: Version) -> AdapterName | None:
        """Return the memory's adapter that a guard is trained on top of."""
        guard = await self.memories.get(version.tenant, version.memory_id)
        text = guard.metadata.get("adapter", "")
        return AdapterName.parse(text) if text else None

    async def _open(self, version: Version, base: Path, digest: str, tell: Tell, stop: threading.Event) -> "GuardRun":
        lesson = await self._lesson(version, base)
        memory = await self.memory_of(version)
        checkpoint = Checkpoint(self.shop.settings.home, version, digest)
        run = GuardRun(self.shop, version, lesson, base, digest, memory, checkpoint, tell, stop)
        await run.open()
        return run

    async def _lesson(self, version: Version, base: Path) -> Lesson:
        own: list[str] = []
        for ref in version.documents:
            read = self.shop.artifacts.read_document
            own += (await asyncio.to_thread(read, version.tenant, version.memory_id, ref.digest))["prompts"]
        tokenizer = await asyncio.to_thread(load_tokenizer, str(base))
        ends = await asyncio.to_thread(stop_ids, str(base)) | {tokenizer.eos_token_id} - {None}
        recipe = GuardRecipe.from_dict(version.recipe)
        longest = self.shop.settings.max_model_len // 2  # the rest is for an answer, and to look ahead of it
        return await asyncio.to_thread(make_lesson, recipe, own, tokenizer, ends, longest=longest)
