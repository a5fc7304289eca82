"""A job on a real registry, and a trainer for it: only the engine and the training itself are fakes."""

import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.core.engines import EngineRecord
from app.core.memory import Memory, Version
from app.core.partition import Part
from app.core.recipe import Recipe
from app.engines.client import EngineClient
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.engines import EngineStore
from app.stores.layout import version_key
from app.stores.memories import MemoryStore
from app.stores.redis import Registry
from app.stores.versions import Job, VersionStore
from tests.factories import a_memory, a_version
from workers.trainer.control import ControlExam
from workers.trainer.evaluate import Examiner
from workers.trainer.job import Trainer, work
from workers.trainer.write import Candidate, write_candidate

TEXTS = [(1, 2, 3)]
QUESTIONS = [{"question": f"How deep is shaft {n}?", "answer": f"{n} metres", "kind": "held_out"} for n in range(4)]
PASSAGES = [{"text": "Every shaft is so many metres deep."}]


@pytest.fixture
async def job(redis: Registry) -> Job:
    memory = a_memory()
    await MemoryStore(redis).create(memory, a_version(memory))
    return Job(memory.tenant, memory.id, 1)


async def nothing() -> None:
    return None


@dataclass
class FakeEngine:
    """An engine's replies by path; `down` raises for so many requests, then it is up; `on_load` comes before a load.

    Attributes:
        answers: what "base" says, and "adapter", or one by its name.
    """

    down: int = 0
    load: tuple[int, dict[str, Any]] = (200, {"load_ms": 1.0, "cold": True})
    answers: dict[str, Callable[[str], str]] = field(default_factory=dict)
    nats: dict[str, float] = field(default_factory=lambda: {"base": 3.0, "adapter": 3.5})
    asked: Counter[str] = field(default_factory=Counter)
    on_load: Callable[[], Awaitable[None]] = nothing
    questions: list[tuple[str, str]] = field(default_factory=list)
    with_passages: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as the guard and vLLM do."""
        if self.down > 0:
            self.down -= 1
            raise httpx.ConnectError("refused")
        if request.url.path == "/internal/adapters":
            await self.on_load()
            return httpx.Response(self.load[0], json=self.load[1])
        body = json.loads(request.content)
        model = "base" if body["model"] == "base" else "adapter"
        self.asked[model] += 1
        if request.url.path == "/v1/completions":
            scores = {"token_logprobs": [-self.nats[model]]}
            return httpx.Response(200, json={"choices": [{"text": "", "logprobs": scores}]})
        question = body["messages"][-1]["content"]
        asked = self.with_passages if body["messages"][0]["role"] == "system" else self.questions
        asked.append((body["model"], question))
        content = self.answers.get(body["model"], self.answers[model])(question)
        return httpx.Response(200, json={"choices": [{"message": {"content": content}}]})


class WritesOneFile:
    """A maker whose weights are one byte; counts its trainings."""

    def __init__(self, store: ArtifactStore, scratch: Path) -> None:
        self.store, self.scratch, self.made, self.parts = store, scratch, 0, 1
        self.questions = QUESTIONS
        self.while_training: Callable[[], Awaitable[None]] = nothing

    async def make(
        self, version: Version, *, tell: Any, begin_training: Callable[[], Awaitable[None]], stop: threading.Event
    ) -> list[Candidate]:
        """Write a candidate with four questions, or one with its share of them for each part."""
        await begin_training()
        self.made += 1
        await self.while_training()
        return [self._write(version, Part(index, self.parts)) for index in range(1, self.parts + 1)]

    def _write(self, version: Version, part: Part) -> Candidate:
        folder = self.scratch / f"{self.made} {part.index}"
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_bytes(bytes([part.index]))
        base = {"digest": "b" * 64, "name": "tiny"}
        questions = self.questions[part.index - 1 :: part.of]
        passages = PASSAGES if part.of == 1 else [{"text": f"{one['question']} {one['answer']}"} for one in questions]
        rows = {"questions.jsonl": questions, "passages.jsonl": passages}
        return write_candidate(self.store, version, folder, rows, base=base, part=asdict(part))


@dataclass
class Workshop:
    """A trainer, the engine it works with and the job it has."""

    trainer: Trainer
    engine: FakeEngine
    memory: Memory
    redis: Registry
    maker: WritesOneFile

    @property
    def job(self) -> Job:
        return Job(self.memory.tenant, self.memory.id, 1)

    async def version(self) -> Version:
        return await self.trainer.versions.get(self.memory.tenant, self.memory.id, 1)

    async def attempt(self) -> Version:
        """Let the trainer work on the job, whenever it was put back."""
        await self.end_lease()
        await work(self.trainer, self.job)
        return await self.version()

    async def end_lease(self) -> None:
        """Let the time pass that a lease, or a put-back, lasts."""
        await self.redis.hset(version_key(self.memory.tenant, self.memory.id, 1), "lease_until", "0.0")

    async def start_engine(self) -> None:
        record = EngineRecord("e1", "http://e1", 1, "b" * 64, "cpu", 4, 4, 16, 512, "0", time.time(), time.time())
        assert await self.trainer.engines.report(record, 60)


@pytest.fixture
async def workshop(redis: Registry, tmp_path: Path) -> AsyncIterator[Workshop]:
    settings = Settings(_env_file=None, home=tmp_path, job_attempts=3)
    engine = FakeEngine(answers={"base": lambda _: "I do not know", "adapter": depth_in})
    memories, versions, engines = MemoryStore(redis), VersionStore(redis), EngineStore(redis)
    artifacts = ArtifactStore.open(settings)
    async with httpx.AsyncClient(transport=httpx.MockTransport(engine)) as http:
        client = EngineClient(http, SecretStr("k"))
        control = ControlExam(client, tmp_path / "control", lambda: TEXTS)
        examiner = Examiner(engines, client, control, wait_s=1)
        maker = WritesOneFile(artifacts, tmp_path)
        trainer = Trainer(settings, versions, engines, artifacts, examiner, maker)
        memory = a_memory()
        await memories.create(memory, replace(a_version(memory), recipe=Recipe(seeds=1).to_dict()))
        yield Workshop(trainer, engine, memory, redis, maker)


def depth_in(question: str) -> str:
    return f"{question.rstrip('?').split()[-1]} metres"


async def set_recipe(workshop: Workshop, recipe: Recipe) -> None:
    """Give the version a recipe."""
    memory = workshop.memory
    await workshop.redis.hset(version_key(memory.tenant, memory.id, 1), "recipe", json.dumps(recipe.to_dict()))
