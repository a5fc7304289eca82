"""A guard's job on a real registry, with a tiny model: only the engine is a fake, which speaks bytes."""

import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.core.composition import Composition
from app.core.engines import EngineRecord
from app.core.guard_recipe import GuardRecipe
from app.core.lifecycle import State
from app.core.memory import DocumentRef, Memory, Version
from app.core.names import AdapterName
from app.core.recipe import Recipe
from app.engines.client import EngineClient
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.bases import BaseStore
from app.stores.engines import EngineStore
from app.stores.events import EventStore
from app.stores.layout import version_key
from app.stores.memories import MemoryStore
from app.stores.redis import Registry
from app.stores.versions import Job, VersionStore
from tests.factories import a_memory, a_version, memory_id
from tests.trainer.tiny import byte_tokenizer, llama
from workers.base_model import base_digest
from workers.languages.exam import GuardExam
from workers.languages.make import GuardMaker
from workers.languages.run import INTERIM, Shop
from workers.trainer.control import ControlExam
from workers.trainer.evaluate import Examiner
from workers.trainer.follow import Progress
from workers.trainer.job import Trainer, work
from workers.trainer.make import CandidateMaker
from workers.trainer.model import attach_lora, load_base, save_adapter
from workers.trainer.write import scratch, write_candidate

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("no_waiting")]
TOKENIZER = byte_tokenizer()
END = TOKENIZER.eos_token_id
RECIPE = GuardRecipe(
    language="ko",
    strict=True,
    candidates=4,
    look_ahead=2,
    answers=8,
    points=8,
    points_per_step=4,
    iterations=2,
    steps=3,
    passes=5,
    learning_rate=3e-2,
    stop_mass=0.0,
    rank=4,
    draws=1,
    max_drift=100.0,
)
PROMPTS = [f"서울의 {one} 구는 어디에 있습니까?" for one in "가나다라마바사아자차"]


def ids_of(text: str) -> list[int]:
    return list(map(int, TOKENIZER(text, add_special_tokens=False)["input_ids"]))


@dataclass
class Bytes:
    """An engine that answers in bytes: off the language as long as it is `base`, and as `guarded` says after that."""

    guarded: str = "안녕하세요"
    lapses: int = 1000  # so many answers leave the language, then none
    lost: float = 0.0  # what the compression of a composite costs
    refuses: str = ""  # composites with an adapter in whose name this is
    asked: Counter[str] = field(default_factory=Counter)
    loaded: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as the guard and vLLM do."""
        body = json.loads(request.content) if request.content else {}
        if request.url.path.startswith("/internal/adapters"):
            if request.method == "DELETE":
                self.removed.append(request.url.path.rpartition("/")[2])
                return httpx.Response(200, json={"name": "", "removed": True})
            name = body["name"] if "name" in body else str(Composition.from_dict(body).name)
            self.loaded.append(name)
            if self.refuses and "name" not in body and any(self.refuses in one for one in body["members"]):
                return httpx.Response(422, json={"error": {"code": "composite_rejected", "message": "It broke."}})
            return httpx.Response(
                200, json={"name": name, "load_ms": 1.0, "cold": True, "facts": {"compression_error": self.lost}}
            )
        if request.url.path == "/v1/chat/completions":
            return httpx.Response(200, json={"choices": [{"message": {"content": "?"}}]})
        return httpx.Response(200, json={"choices": self._complete(body)})

    def _complete(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        if "allowed_token_ids" in body:
            return [{"index": 0, "logprobs": {"token_logprobs": [-2.0]}}]
        if "logprobs" in body:
            first = ids_of("안")[0]
            scores = {f"token_id:{one}": -float(rank) for rank, one in enumerate([*ids_of("he"), first, END])}
            return [{"index": 0, "token_ids": [first], "logprobs": {"top_logprobs": [scores]}}]
        many = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        self.asked[body["model"]] += len(many)
        if body["max_tokens"] == RECIPE.look_ahead:
            return [{"index": i, "token_ids": ids_of("안")[1:]} for i in range(len(many))]
        trained = body["model"].split(".")[2:3] == ["v1"] and ".mem_" not in body["model"]
        mended = trained and body["temperature"]  # what asks for foreign text is greedy
        says = self.guarded if mended else "안녕 hello"
        before, self.lapses = self.lapses, max(0, self.lapses - len(many))
        said = [says if i < before else "안녕" for i in range(len(many))]
        return [{"index": i, "token_ids": [*ids_of(one), END]} for i, one in enumerate(said)]


@dataclass
class Workshop:
    """A registry with one guard, a trainer, and its engine."""

    trainer: Trainer
    engine: Bytes
    guard: Memory
    redis: Registry
    base: str

    @property
    def job(self) -> Job:
        """The guard's only job."""
        return Job(self.guard.tenant, self.guard.id, 1)

    async def attempt(self) -> Version:
        """Work on the job, and return its version."""
        await self.report()
        await work(self.trainer, self.job)
        return await self.trainer.versions.get(self.guard.tenant, self.guard.id, 1)

    async def report(self) -> None:
        """Let the engine be alive."""
        now = time.time()
        record = EngineRecord("e1", "http://e1", 1, self.base, "cpu", 4, 4, 16, 512, "0", now, now)
        await self.trainer.engines.report(record, 60)

    async def forget_the_pause(self) -> None:
        """Let a job that was put back be taken up at once."""
        await self.redis.hset(version_key(self.guard.tenant, self.guard.id, 1), "lease_until", "0.0")

    async def metadata(self) -> dict[str, str]:
        """Return what is known of the guard."""
        return (await MemoryStore(self.redis).get(self.guard.tenant, self.guard.id)).metadata


@pytest.fixture
async def workshop(redis: Registry, registry_url: str, tmp_path: Path) -> AsyncIterator[Workshop]:
    folder = tmp_path / "model"
    llama().save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    settings = Settings(
        _env_file=None, home=tmp_path, redis_url=registry_url, base_model=str(folder), dtype="float32", device="cpu"
    )
    memories, versions, engines = MemoryStore(redis), VersionStore(redis), EngineStore(redis)
    artifacts, engine = ArtifactStore.open(settings), Bytes()
    async with httpx.AsyncClient(transport=httpx.MockTransport(engine)) as http:
        client = EngineClient(http, SecretStr("k"))
        control = ControlExam(client, tmp_path / "control", lambda: [(1, 2, 3)])
        examiner = Examiner(engines, client, control, wait_s=1)
        exam = GuardExam(client, control)
        guards = GuardMaker(Shop(settings, artifacts, engines, examiner, client), memories, versions, exam)
        maker = CandidateMaker(settings, artifacts, examiner, http, BaseStore(redis))
        trainer = Trainer(settings, versions, engines, artifacts, examiner, maker, guards)
        guard = a_memory(id=memory_id().replace("mem_", "lng_"), metadata={"language": "ko"})
        ref = DocumentRef("prompts.txt", "e" * 64, "prompts", 10)
        artifacts.write_document(guard.tenant, guard.id, ref.digest, b"", {"prompts": PROMPTS})
        await memories.create(guard, a_version(guard, recipe=RECIPE.to_dict(), documents=(ref,)))
        yield Workshop(trainer, engine, guard, redis, base_digest(folder, tmp_path))


async def test_a_guard_that_keeps_to_its_language_serves_with_its_scores(workshop: Workshop) -> None:
    version = await workshop.attempt()

    assert (version.state, version.error) == (State.READY, None)
    before, after = (version.scores[side]["strict"]["rpr"] for side in ("before", "after"))
    assert (before, after, version.scores["gain"]) == (0.0, 1.0, [1.0, 1.0])
    nothing_long = {"lpr": 1.0, "wpr": 1.0, "lcpr": 1.0, "answers": 2, "scorable": 0}
    assert version.scores["after"]["benchmark"] == nothing_long
    assert version.scores["compression_error"] is None
    guard = await MemoryStore(workshop.redis).get(workshop.guard.tenant, workshop.guard.id)
    assert guard.current == 1
    manifest = workshop.trainer.artifacts.read_manifest(workshop.trainer.artifacts.versions(guard.tenant, guard.id)[0])
    assert (manifest["language"], manifest["base"]["digest"]) == ("ko", workshop.base)
    assert manifest["canary"]["adapter_logprobs"] != manifest["canary"]["base_logprobs"]


async def test_later_explorations_ask_what_was_trained_and_leave_nothing_behind(workshop: Workshop) -> None:
    version = await workshop.attempt()
    interim, final = workshop.engine.loaded

    assert f".v{INTERIM + 2}." in interim
    assert (workshop.engine.removed, final) == ([interim], version.adapter)
    names = workshop.trainer.artifacts.versions(version.tenant, version.memory_id)
    assert list(map(str, names)) == [version.adapter]


async def test_an_exploration_that_breaks_off_leaves_no_weights_behind(workshop: Workshop) -> None:
    version = await workshop.trainer.versions.get(workshop.guard.tenant, workshop.guard.id, 1)
    await workshop.report()

    async def breaks_off(progress: Progress) -> None:
        if progress.get("iteration") == 2 and progress["stage"] == "exploring":
            raise ConnectionError

    async def begins() -> None:
        pass

    maker = workshop.trainer.maker_of(version)
    with pytest.raises(ConnectionError):
        await maker.make(version, tell=breaks_off, begin_training=begins, stop=threading.Event())

    assert workshop.engine.loaded  # with what was trained so far
    assert workshop.trainer.artifacts.versions(version.tenant, version.memory_id) == []


async def test_explorations_and_the_last_step_are_told(workshop: Workshop) -> None:
    await workshop.attempt()
    events = await EventStore(workshop.redis).read(workshop.guard.tenant, workshop.guard.id)

    states = [event.data["state"] for event in events if event.kind == "state"]
    told = [event.data for event in events if event.kind == "progress"]
    explored = [one for one in told if one["stage"] == "exploring"]
    assert states == ["queued", "preparing", "training", "evaluating", "publishing", "ready"]
    assert [(one["iteration"], one["confused"], one["points"], one["skipped"]) for one in explored] == [
        (1, 8, 8, 0),
        (2, 8, 8, 0),
    ]
    # what the guard is kept from, which is read once for a base model
    read = [one for one in told if one["stage"] == "reading"][-1]
    assert read["done"] == read["total"] > 0
    last = [one for one in told if one["stage"] == "training"][-1]
    assert (last["step"], last["steps"]) == (6, 6)
    assert {"objective", "kl", "clipped", "valid", "confused", "tokens_per_s"} <= set(last)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [({"stop_rate": 0.3}, 3), ({"points_per_step": 3}, 3), ({"stop_rate": 0.1, "points_per_step": 2}, 6)],
)
async def test_training_ends_once_too_few_answers_are_confused_or_they_make_no_step(
    workshop: Workshop, changes: dict[str, Any], steps: int
) -> None:
    workshop.engine.lapses = 10  # 8 of 8 in the first exploration, 2 of 8 in the second
    fields = {**RECIPE.to_dict(), "points_per_step": 2, **changes}
    await workshop.redis.hset(version_key(workshop.guard.tenant, workshop.guard.id, 1), "recipe", json.dumps(fields))
    version = await workshop.attempt()
    name = AdapterName.parse(version.adapter)

    assert len(workshop.trainer.artifacts.read_lines(name, "steps.jsonl")) == steps
    assert [row["points"] for row in workshop.trainer.artifacts.read_lines(name, "explorations.jsonl")] == [8, 2]


async def test_a_guard_taken_up_again_ends_where_it_would_have_ended(workshop: Workshop) -> None:
    fields = {
        **RECIPE.to_dict(),
        "stop_mass": 1.0,
    }  # no exploration finds more confused: the first training is the last
    await workshop.redis.hset(version_key(workshop.guard.tenant, workshop.guard.id, 1), "recipe", json.dumps(fields))
    version = await workshop.trainer.versions.get(workshop.guard.tenant, workshop.guard.id, 1)
    maker = workshop.trainer.maker_of(version)
    await workshop.report()

    async def goes_on(progress: Progress | None = None) -> None:
        pass

    async def is_killed() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await maker.make(version, tell=goes_on, begin_training=is_killed, stop=threading.Event())
    [candidate] = await maker.make(version, tell=goes_on, begin_training=goes_on, stop=threading.Event())

    explored = workshop.trainer.artifacts.read_lines(candidate.name, "explorations.jsonl")
    assert [row["iteration"] for row in explored] == [1]


async def test_a_guard_that_answers_nothing_is_rejected(workshop: Workshop) -> None:
    workshop.engine.guarded = ""

    version = await workshop.attempt()

    assert version.state is State.REJECTED
    assert version.error
    assert "No answer holds a word of ko" in version.error["message"]
    assert "100% of its answers are empty" in version.error["message"]


async def waiting_for(workshop: Workshop, state: State = State.QUEUED) -> Memory:
    """Let the guard wait for a memory whose only version is in a state."""
    memories, guard = MemoryStore(workshop.redis), workshop.guard
    memory = a_memory(name="ada")
    await memories.create(memory, replace(a_version(memory), state=state))
    metadata = {"language": "ko", "memory": memory.id}
    await memories.update(guard.tenant, guard.id, {"metadata": metadata})
    record = {"memory": {"metadata": metadata}}
    workshop.trainer.artifacts.write_memory(guard.tenant, guard.id, record)
    return memory


async def becomes_ready(workshop: Workshop, memory: Memory) -> AdapterName:
    """Let a memory serve, from an adapter on the tiny model."""
    base, folder = (
        load_base(workshop.trainer.settings.base_model, "cpu", "float32"),
        scratch(workshop.trainer.settings.home),
    )
    save_adapter(attach_lora(base, Recipe(rank=4, alpha=8), 0), folder)
    version = a_version(memory)
    written = write_candidate(
        workshop.trainer.artifacts, version, folder, {}, base={"digest": workshop.base, "name": "tiny"}, canary={}
    )
    await workshop.trainer.versions.restore(replace(version, state=State.READY, adapter=str(written.name)))
    await MemoryStore(workshop.redis).update(memory.tenant, memory.id, {"current": 1})
    return written.name


async def test_a_guard_waits_for_its_memory_and_costs_no_attempt(workshop: Workshop) -> None:
    memory = await waiting_for(workshop)
    for _ in range(workshop.trainer.settings.job_attempts + 2):
        version = await workshop.attempt()
        assert (version.state, version.attempt, version.error) == (State.QUEUED, 0, None)
        await workshop.forget_the_pause()
    states = await EventStore(workshop.redis).read(workshop.guard.tenant, workshop.guard.id)

    assert [event.data["state"] for event in states] == ["queued"]
    assert memory.id in (await workshop.metadata()).values()


async def test_a_guard_is_trained_on_the_version_that_serves_when_its_turn_comes(workshop: Workshop) -> None:
    memory = await waiting_for(workshop)
    await workshop.attempt()
    await workshop.forget_the_pause()
    adapter = await becomes_ready(workshop, memory)
    version = await workshop.attempt()
    bound = {"language": "ko", "memory": memory.id, "version": "1", "adapter": str(adapter)}
    [written] = workshop.trainer.artifacts.versions(version.tenant, version.memory_id)

    assert (version.state, version.error) == (State.READY, None)
    assert await workshop.metadata() == bound
    assert workshop.trainer.artifacts.read_manifest(written)["memory"] == str(adapter)
    assert workshop.trainer.artifacts.read_memory(version.tenant, version.memory_id)["memory"]["metadata"] == bound
    assert str(adapter) in workshop.engine.loaded


@pytest.mark.parametrize(
    ("lost", "refuses", "asked"), [(0.0, "", True), (0.2, "", False), (0.0, f".v{INTERIM + 2}.", False)]
)
async def test_a_guard_and_its_memory_are_explored_on_an_engine_only_as_their_exact_sum(
    workshop: Workshop, lost: float, refuses: str, asked: bool
) -> None:
    memory = await waiting_for(workshop)
    adapter = await becomes_ready(workshop, memory)
    workshop.engine.lost, workshop.engine.refuses = lost, refuses
    version = await workshop.attempt()
    [interim] = [AdapterName.parse(name) for name in workshop.engine.loaded if f".v{INTERIM + 2}." in name]
    both = str(Composition.sum_of([adapter, interim]).name)

    assert version.state is State.READY
    assert both in workshop.engine.loaded
    assert (workshop.engine.asked[both] > 0) == asked
    assert version.scores["compression_error"] == lost
    assert workshop.engine.removed == [both, str(interim)]
    assert not {both, str(interim)} & set(await workshop.trainer.engines.desired("e1"))


@pytest.mark.parametrize("state", [State.FAILED, State.REJECTED, State.CANCELLED])
async def test_a_guard_fails_with_a_sentence_when_its_memory_will_not_serve(workshop: Workshop, state: State) -> None:
    await waiting_for(workshop, state)
    version = await workshop.attempt()

    assert (version.state, version.error and version.error["code"]) == (State.FAILED, "memory_failed")
    assert version.error
    assert f"'ada', which this guard is for, is {state}: retry it" in version.error["message"]


async def test_a_guard_fails_with_a_sentence_when_its_memory_has_parts(workshop: Workshop) -> None:
    memory = await waiting_for(workshop)
    parts = tuple(str(AdapterName(memory.tenant, memory.id, 1, digit * 12)) for digit in "12")
    in_parts = replace(a_version(memory), state=State.READY, adapter=parts[0], parts=parts)
    await workshop.trainer.versions.restore(in_parts)
    await MemoryStore(workshop.redis).update(memory.tenant, memory.id, {"current": 1})
    version = await workshop.attempt()

    assert version.state is State.FAILED
    assert version.error
    assert "has 2 parts" in version.error["message"]


async def test_a_guard_fails_with_a_sentence_when_its_memory_is_deleted(workshop: Workshop) -> None:
    memory = await waiting_for(workshop)
    await MemoryStore(workshop.redis).bury(memory, {"deleted_at": 1.0})
    version = await workshop.attempt()

    assert version.state is State.FAILED
    assert version.error
    assert "is deleted: train another" in version.error["message"]


@pytest.mark.parametrize("changes", [{"strict": False}, {"points_per_step": 2}])
async def test_a_model_that_hardly_leaves_the_language_has_nothing_to_learn(
    workshop: Workshop, changes: dict[str, Any]
) -> None:
    workshop.engine.lapses = 1
    fields = {**RECIPE.to_dict(), **changes}
    await workshop.redis.hset(version_key(workshop.guard.tenant, workshop.guard.id, 1), "recipe", json.dumps(fields))

    version = await workshop.attempt()

    assert version.state is State.FAILED
    assert version.error
    assert version.error["code"] == "nothing_to_learn"
    assert "of 8 answers" in version.error["message"]
