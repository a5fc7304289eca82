"""Making a candidate: what the generator may say, and what a training tells of itself."""

import dataclasses
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from pydantic import SecretStr

from app.core.documents import Document, Pair
from app.core.memory import DocumentRef, Version
from app.core.recipe import Recipe
from app.engines.client import EngineClient
from app.errors import DocumentMissing, EngineFailed
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.bases import BaseStore
from app.stores.engines import EngineStore
from app.stores.redis import Registry, connect
from tests.factories import SHAPE, a_memory, a_version
from tests.trainer.tiny import byte_tokenizer, llama
from workers.base_model import base_digest
from workers.trainer.checkpoint import TARGETS, Checkpoint
from workers.trainer.control import ControlExam
from workers.trainer.evaluate import Examiner
from workers.trainer.exam import Question
from workers.trainer.examples import Example, suited
from workers.trainer.make import CandidateMaker, answered_rows, encode_examples, encode_held_out
from workers.trainer.null_space import ANSWERED, general_rows
from workers.trainer.passages import Passage
from workers.trainer.prepare import Lesson
from workers.trainer.teacher import with_teacher_prompts
from workers.trainer.training import Course, Ground, Training
from workers.trainer.write import Candidate

RECIPE: dict[str, Any] = {"rank": 2, "alpha": 4, "epochs": 1, "prose_epochs": 1, "min_steps": 2}
RECIPE |= {"prose_replay": 0, "prose_protect": 0, "prose_consolidation": 0}
RECIPE |= {"replay": 0, "protect": 0, "consolidation": 0, "questions_per_passage": 0}


def maker(tmp_path: Path, reply: object, asked: list[httpx.Request]) -> CandidateMaker:
    """Return a maker whose generator is another endpoint that always says the same."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=reply)

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    settings = Settings(
        _env_file=None,
        home=tmp_path,
        generator_url="https://models.example/v1",
        generator_key=SecretStr("secret"),
        generator_model="large",
    )
    registry = connect(settings.registry_url)
    engines = EngineStore(registry)
    client = EngineClient(http, SecretStr("k"))
    examiner = Examiner(engines, client, ControlExam(client, tmp_path, list), wait_s=1)
    return CandidateMaker(settings, ArtifactStore.open(settings), examiner, http, BaseStore(registry))


async def test_the_generator_that_is_set_is_asked_with_its_own_key_and_model(tmp_path: Path) -> None:
    asked: list[httpx.Request] = []
    reply = {"choices": [{"message": {"content": "Who rang it?"}}]}

    said = await maker(tmp_path, reply, asked).ask([{"role": "user", "content": "?"}], 0.7, 40)

    assert said == "Who rang it?"
    assert str(asked[0].url) == "https://models.example/v1/chat/completions"
    assert asked[0].headers["authorization"] == "Bearer secret"
    body = json.loads(asked[0].content)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("large", 0.7, 40)


@pytest.mark.parametrize("reply", [{}, {"choices": []}, {"choices": [{}]}, [], {"choices": None}])
async def test_a_reply_that_is_no_completion_is_the_generators_failure(tmp_path: Path, reply: object) -> None:
    with pytest.raises(EngineFailed, match="no chat completion"):
        await maker(tmp_path, reply, []).ask([], 0.0, 1)


@pytest.mark.redis
async def test_a_training_leaves_how_fast_it_was_with_the_base_model(redis: Registry, tmp_path: Path) -> None:
    candidate, artifacts = await trained(redis, tmp_path)
    known = await BaseStore(redis).current()
    steps = artifacts.read_lines(candidate.name, "steps.jsonl")

    assert known
    assert known.tokens_per_s
    assert 0 < known.tokens_per_s < sum(step["tokens"] for step in steps) / 1e-4


def test_what_is_read_once_before_the_first_step_is_told(tmp_path: Path) -> None:
    made, version = maker(tmp_path, {}, []), a_version(a_memory())
    ground = Ground(made.settings, made.artifacts, tmp_path, "b" * 64)
    course = Course(Recipe(), Lesson([], [], []), [], [], [])
    training = Training(ground, version, course, Checkpoint(tmp_path, version, "b" * 64), threading.Event())
    before = training.progress()
    training.read = 16, 592

    assert before is None
    assert training.progress() == {"stage": "training", "done": 16, "total": 592}


@pytest.mark.redis
async def test_a_candidate_says_which_facts_its_examples_cover(redis: Registry, tmp_path: Path) -> None:
    candidate, artifacts = await trained(redis, tmp_path)
    rows = artifacts.read_lines(candidate.name, "coverage.jsonl")
    told = artifacts.read_manifest(candidate.name)["coverage"]

    assert {(row["document"], row["span"]) for row in rows} == {("a.md", "copper bell"), ("a.md", "Tarn")}
    assert (told["facts"], told["covered"], told["dropped"]) == (2, 2, {})
    assert all(row["origins"]["keywords"] for row in rows)
    assert "Tarn" not in json.dumps(told)


@pytest.mark.redis
async def test_a_document_that_the_store_lost_is_named(redis: Registry, tmp_path: Path) -> None:
    maker = await tiny_maker(redis, tmp_path)
    kept = Document("kept.csv", "pairs", "", (Pair("Ann?", "212"),), "d" * 64, 9)
    version = remembered(maker.artifacts, [kept])
    lost = DocumentRef("lost.csv", "e" * 64, "pairs", 9)

    with pytest.raises(DocumentMissing, match=r"Document lost\.csv is not in the artifact store"):
        await make(maker, dataclasses.replace(version, documents=(*version.documents, lost)))


async def trained(redis: Registry, home: Path) -> tuple[Candidate, ArtifactStore]:
    """Train a tiny model on two pairs and a sentence, with no generator."""
    maker = await tiny_maker(redis, home)
    documents = [
        Document("a.csv", "pairs", "", (Pair("Ann?", "212"), Pair("Bob?", "97")), "d" * 64, 9),
        Document("a.md", "prose", "It has a copper bell, cast at Tarn.", (), "e" * 64, 9),
    ]
    [candidate] = await make(maker, remembered(maker.artifacts, documents))
    return candidate, maker.artifacts


async def tiny_maker(redis: Registry, home: Path) -> CandidateMaker:
    """Return a maker whose base model is tiny and known to the registry."""
    base = home / "tiny"
    llama().save_pretrained(base)
    byte_tokenizer().save_pretrained(base)
    settings = Settings(_env_file=None, home=home, base_model=str(base), device="cpu", dtype="float32")
    http = httpx.AsyncClient()
    client = EngineClient(http, SecretStr(""))
    examiner = Examiner(EngineStore(redis), client, ControlExam(client, home, list), wait_s=1)
    bases = BaseStore(redis)
    await bases.describe(dataclasses.replace(SHAPE, digest=base_digest(base, home)))
    return CandidateMaker(settings, ArtifactStore.open(settings), examiner, http, bases)


def remembered(artifacts: ArtifactStore, documents: Sequence[Document], **fields: Any) -> Version:
    """Return a version of documents that the store keeps, which is trained for two steps."""
    memory = a_memory()
    for one in documents:
        artifacts.write_document(memory.tenant, memory.id, one.digest, b"", one.to_dict())
    recipe = Recipe(**RECIPE).to_dict()
    refs = tuple(DocumentRef(one.name, one.digest, one.kind, 9) for one in documents)
    return a_version(memory, recipe=recipe, documents=refs, **fields)


async def make(maker: CandidateMaker, version: Version, tell: Any = None) -> list[Candidate]:
    """Make the candidates as a job does."""
    return await maker.make(version, tell=tell or _ignore, begin_training=_ignore, stop=threading.Event())


async def _ignore(*_: object) -> None:
    return


class Talker(Examiner):
    """An engine whose base model says one thing to everything."""

    def __init__(self, said: str) -> None:
        self._said = said

    async def ask_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer."""
        return {"choices": [{"message": {"content": self._said}, "finish_reason": "stop"}]}

    async def complete_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Go on."""
        return {"choices": [{"text": " and so on."}]}


@pytest.mark.redis
async def test_a_lora_is_kept_from_reading_what_the_base_model_itself_answers(redis: Registry, tmp_path: Path) -> None:
    documents = [Document("a.csv", "pairs", "", (Pair("Ann?", "212"),), "d" * 64, 9)]
    found = []
    for said in ("Well.", "Quite different."):
        plain = await tiny_maker(redis, tmp_path / said)
        version = remembered(plain.artifacts, documents)
        version = dataclasses.replace(version, recipe=version.recipe | {"protect": 0.9})
        await make(dataclasses.replace(plain, examiner=Talker(said)), version)
        [file] = (tmp_path / said / "replay").glob("null-space-*.pt")
        found.append(torch.load(file, weights_only=True))

    assert found[0].keys() == found[1].keys()
    assert any(not torch.equal(one, found[1][name]) for name, one in found[0].items())


def test_prompts_that_nobody_answered_are_read_alone() -> None:
    tokenizer = byte_tokenizer()
    said = [Example("chat", "Who?", "Nobody at all.", "replay", "") for _ in range(ANSWERED)]
    rows = answered_rows(said, tokenizer, stop_ids=(), max_tokens=512)

    assert len(rows) == len(general_rows(tokenizer))
    assert rows[ANSWERED:] == general_rows(tokenizer, ANSWERED)
    assert all(len(row) - row.answer_start > len("Nobody") for row in rows[:ANSWERED])


def test_a_training_cut_off_asks_its_teacher_once_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    llama().save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    recipe = Recipe(
        epochs=4, prose_epochs=4, min_steps=1, distillation=1.0, hidden_weight=0.1, patience=2, answers="span"
    )
    version = a_version(a_memory(), recipe=recipe.to_dict())
    examples = [Example("chat", f"Who is {n}?", f"{n * 7}", "keywords", "d", 0) for n in range(4)]
    lesson = Lesson(examples, [Passage("d", 0, 0, 4, "0 is 0.")], [])
    rows = encode_examples(examples, tokenizer, stop_ids=(), max_tokens=512)
    rows = with_teacher_prompts(rows, examples, lesson.passages, tokenizer, 512)
    watched = [Question("Who was 1?", "7", kind="held_out")]
    held_out = encode_held_out(watched, tokenizer, recipe, stop_ids=())
    checkpoint = Checkpoint(tmp_path, version, "b" * 64)
    made = maker(tmp_path, {}, [])
    made = dataclasses.replace(made, settings=made.settings.model_copy(update={"dtype": "float32", "device": "cpu"}))

    def attempt() -> Candidate:
        ground = Ground(made.settings, made.artifacts, tmp_path / "base", "b" * 64)
        course = Course(suited(recipe, examples), lesson, rows, held_out, general_rows(tokenizer)[:8])
        return Training(ground, version, course, checkpoint, threading.Event()).run()

    first, kept = attempt(), checkpoint.load(TARGETS)
    again = attempt()
    assert kept is not None
    checkpoint.save({"targets": [None] * 4}, TARGETS)  # what a teacher said that was never asked

    assert len(kept["targets"]) == 4
    assert again.digest == first.digest
    assert attempt().digest != first.digest
