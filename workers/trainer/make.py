"""Documents to a candidate: examples, then rows, then weights, then a folder in the artifact store."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import httpx
import torch
from pydantic import SecretStr

from app.core.documents import Document
from app.core.memory import Version
from app.core.published import excerpt
from app.core.recipe import Recipe
from app.engines.client import EngineClient
from app.errors import EmptyDocument, EngineFailed, LeaseLost
from app.rank import SELECTION, Published
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.bases import BaseStore
from workers.base_model import base_digest, find_base
from workers.chat import load_tokenizer, stop_ids
from workers.trainer.canary import make_canary
from workers.trainer.checkpoint import EVERY_S, TARGETS, Checkpoint
from workers.trainer.encode import Row, encode_chat, encode_text
from workers.trainer.evaluate import Examiner
from workers.trainer.examples import Example
from workers.trainer.generated import ExampleCache
from workers.trainer.model import attach_lora, load_base, save_adapter
from workers.trainer.prepare import Lesson, prepare
from workers.trainer.prompts import Message
from workers.trainer.replay import general_examples, replayed, shown_at_most
from workers.trainer.replay_targets import with_replay_targets
from workers.trainer.targets import Target
from workers.trainer.teacher import ask_teacher, with_teacher_prompts
from workers.trainer.train import Loop, Step
from workers.trainer.write import PASSAGES, QUESTIONS, Candidate, find_candidate, scratch, write_candidate

Progress = dict[str, Any]
Tell = Callable[[Progress], Awaitable[None]]
REPORT_S = 0.5
REPLAY_FOLDER = "replay"


class Maker(Protocol):
    """Makes a candidate of a version."""

    async def make(
        self, version: Version, *, tell: Tell, begin_training: Callable[[], Awaitable[None]], stop: threading.Event
    ) -> Candidate:
        """Make a version's weights, or find those that an attempt cut off after training has left.

        Args:
            tell: records progress; called about twice a second.
            begin_training: called once, when the examples are there.
            stop: ends the training between two steps.

        Raises:
            EmptyDocument: nothing in the documents can be learned.
            TooLarge: a question with its answer is longer than the engine serves.
        """


@dataclass(frozen=True)
class CandidateMaker:
    """Makes candidates by training a LoRA."""

    settings: Settings
    artifacts: ArtifactStore
    examiner: Examiner
    http: httpx.AsyncClient
    bases: BaseStore

    async def make(
        self, version: Version, *, tell: Tell, begin_training: Callable[[], Awaitable[None]], stop: threading.Event
    ) -> Candidate:
        """See `Maker`."""
        base = await asyncio.to_thread(find_base, self.settings.model)
        digest = await asyncio.to_thread(base_digest, base, self.settings.home)
        found = await asyncio.to_thread(find_candidate, self.artifacts, version, digest)
        if found:
            await begin_training()
            return found
        tokenizer = await asyncio.to_thread(load_tokenizer, str(base))
        recipe = Recipe.from_dict(version.recipe)
        checkpoint = Checkpoint(self.settings.home, version, digest)
        lesson = await asyncio.to_thread(checkpoint.load_lesson)
        if lesson is None:
            lesson = await self._with_replay(await self._prepare(version, tokenizer, digest, tell), recipe, digest)
            await asyncio.to_thread(checkpoint.save_lesson, lesson)
        ends = await asyncio.to_thread(stop_ids, str(base))
        rows = await asyncio.to_thread(
            encode_examples, lesson.examples, tokenizer, stop_ids=ends, max_tokens=self.settings.max_model_len
        )
        if recipe.needs_teacher:
            shown = lesson.examples, lesson.passages
            rows = await asyncio.to_thread(with_teacher_prompts, rows, *shown, tokenizer, self.settings.max_model_len)
        held_out = encode_held_out(lesson, tokenizer, recipe, stop_ids=ends) if recipe.patience else []
        await begin_training()
        training = Training(self, version, lesson, rows, held_out, base, digest, checkpoint, stop)
        candidate = await _watch(training, tell)
        if speed := training.tokens_per_s():  # none where an attempt before had done every step
            await self.bases.note_speed(digest, speed)
        await asyncio.to_thread(checkpoint.drop)
        return candidate

    async def _prepare(self, version: Version, tokenizer: Any, base_digest: str, tell: Tell) -> Lesson:
        documents = await asyncio.to_thread(self._read, version)
        recipe, settings = Recipe.from_dict(version.recipe), self.settings
        generator = f"{settings.generator_url} {settings.generator_model}" if settings.generator_url else base_digest
        cache = ExampleCache(settings.home, (version.tenant, version.memory_id), generator, recipe.seed)
        told = 0.0

        async def on_progress(done: int, total: int) -> None:
            nonlocal told
            if done == total or time.monotonic() - told > REPORT_S:
                told = time.monotonic()
                await tell({"stage": "preparing", "done": done, "total": total})

        return await prepare(documents, tokenizer, recipe, self.ask, on_progress, cache=cache)

    async def _with_replay(self, lesson: Lesson, recipe: Recipe, base_digest: str) -> Lesson:
        if not (recipe.replay and lesson.examples):
            return lesson
        most = shown_at_most(lesson.examples, recipe)
        general = await general_examples(self.examiner, self.settings.home / REPLAY_FOLDER, base_digest, most)
        return replace(lesson, examples=[*lesson.examples, *replayed(general, lesson.examples, recipe.replay)])

    def _read(self, version: Version) -> list[Document]:
        read = self.artifacts.read_document
        return [Document.from_dict(read(version.tenant, version.memory_id, ref.digest)) for ref in version.documents]

    async def ask(self, messages: list[Message], temperature: float, most_tokens: int) -> str:
        """Ask the generator: the endpoint that is set, else an engine's own base model."""
        settings = self.settings
        body: dict[str, Any] = {"model": settings.generator_model, "messages": messages}
        body |= {"temperature": temperature, "max_tokens": most_tokens}
        if settings.generator_url:
            key = settings.generator_key or SecretStr("")
            reply = await EngineClient(self.http, key).chat(
                settings.generator_url.rstrip("/").removesuffix("/v1"), body
            )
        else:
            reply = await self.examiner.ask_base(body)
        try:
            return str(reply["choices"][0]["message"]["content"] or "")
        except (LookupError, TypeError) as error:
            raise EngineFailed("The generator's reply is no chat completion.") from error


def encode_examples(
    examples: Sequence[Example], tokenizer: Any, *, stop_ids: Collection[int], max_tokens: int
) -> list[Row]:
    """Turn examples into rows; of what is replayed the base model is the teacher, asked as the student is.

    Raises:
        EmptyDocument: there are none.
        TooLarge: a question with its answer is longer than the engine serves.
    """
    if not examples:
        raise EmptyDocument("Nothing can be learned from these documents: they hold no sentence and no question.")
    rows = []
    for example in examples:
        if example.kind == "chat":
            limits: dict[str, Any] = {"stop_ids": stop_ids, "max_tokens": max_tokens, "ends": example.ends}
            row = encode_chat(tokenizer, example.question, example.answer, **limits)
        else:
            row = encode_text(tokenizer, example.answer, max_tokens=max_tokens)
        if example.origin == "replay":
            row = replace(row, replayed=True, teacher_prompt=row.input_ids[: row.answer_start])
        rows.append(replace(row, turn=example.turn, turns=example.turns))
    return rows


def encode_held_out(lesson: Lesson, tokenizer: Any, recipe: Recipe, *, stop_ids: Collection[int]) -> list[Row]:
    """Turn held-out questions into rows, answered as the trained ones are; where none is held out there are none."""
    if lesson.kind != "held_out":
        return []
    whole = recipe.answers == "sentence"
    answers = [(one.sentence if whole else "") or one.answer for one in lesson.questions]
    pairs = zip(lesson.questions, answers, strict=True)
    return [encode_chat(tokenizer, one.question, answer, stop_ids=stop_ids) for one, answer in pairs]


@dataclass
class Training:
    """One run of the loop, in a thread, with what it has told so far."""

    maker: CandidateMaker
    version: Version
    lesson: Lesson
    rows: list[Row]
    held_out: list[Row]
    base: Path
    base_digest: str
    checkpoint: Checkpoint
    stop: threading.Event

    def __post_init__(self) -> None:
        self.steps: list[Step] = []
        self.begun_with = 0  # steps of an attempt before
        self.began, self.ended = time.monotonic(), 0.0

    def progress(self) -> Progress | None:
        """Return how far the loop is; None before its first step. The time left is at most that: it may end early."""
        if not self.steps:
            return None
        last, elapsed = self.steps[-1], time.monotonic() - self.began
        own = self.steps[self.begun_with :]
        return {
            "stage": "training",
            "step": last.index,
            "steps": last.steps,
            "epoch": last.epoch,
            "loss": round(last.loss, 4),
            "tokens_per_s": self.tokens_per_s(),
            "eta_s": round((last.steps - last.index) * elapsed / max(1, len(own)), 1),
        }

    def tokens_per_s(self) -> float:
        """Return how fast the loop was, or is."""
        elapsed = (self.ended or time.monotonic()) - self.began
        return round(sum(step.tokens for step in self.steps[self.begun_with :]) / elapsed, 1)

    def run(self) -> Candidate:
        """Load, train, make the canary and write the candidate; blocks."""
        settings, recipe = self.maker.settings, Recipe.from_dict(self.version.recipe)
        if settings.trainer_threads:
            torch.set_num_threads(settings.trainer_threads)
        passes = recipe.passes(has_pairs=any(one.origin == "pair" for one in self.lesson.examples))
        recipe = replace(recipe, epochs=passes)
        model = attach_lora(load_base(str(self.base), settings.device, settings.dtype), recipe, recipe.seed)
        self._loop(Loop(model, self._taught(model, recipe), recipe, self.held_out))
        folder = scratch(settings.home)
        save_adapter(model, folder)
        return self._write(folder, make_canary(model, self.rows).to_dict())

    def _taught(self, model: Any, recipe: Recipe) -> list[Row]:
        """Return the rows with what a teacher says of them, where they have one; it is asked once a version."""
        folder = self.maker.settings.home / REPLAY_FOLDER
        rows = with_replay_targets(model, self.rows, recipe, folder, self.base_digest)
        if not recipe.needs_teacher:
            return rows
        kept = self.checkpoint.load(TARGETS)
        if kept is None:
            asked = [row if not row.replayed else replace(row, teacher_prompt=()) for row in rows]
            kept = {"targets": [one and vars(one) for one in ask_teacher(model, asked, recipe)]}
            self.checkpoint.save(kept, TARGETS)
        pairs = zip(rows, kept["targets"], strict=True)
        return [replace(row, target=Target(**fields)) if fields else row for row, fields in pairs]

    def _loop(self, loop: Loop) -> None:
        state = self.checkpoint.load()
        if state:
            self.steps = [Step(**step) for step in state.pop("steps")]
            loop.resume(state)
        self.began = saved = time.monotonic()
        self.begun_with = len(self.steps)
        for step in loop:
            self.steps.append(step)
            if self.stop.is_set():
                raise LeaseLost("The job was taken away while it trained.")
            if time.monotonic() - saved > EVERY_S:
                self.checkpoint.save({**loop.state(), "steps": [asdict(one) for one in self.steps]})
                saved = time.monotonic()
        self.ended = time.monotonic()

    def _write(self, folder: Path, canary: dict[str, Any]) -> Candidate:
        kind = self.lesson.kind
        rows = {
            "examples.jsonl": [asdict(example) for example in self.lesson.examples],
            "coverage.jsonl": self.lesson.coverage.rows(),
            PASSAGES: [asdict(passage) for passage in self.lesson.passages],
            "steps.jsonl": [asdict(step) for step in self.steps],
            QUESTIONS: [{**asdict(question), "kind": kind} for question in self.lesson.questions],
        }
        base = {"digest": self.base_digest, "name": self.base.name}
        facts = {"base": base, "canary": canary, "trained_tokens": sum(step.tokens for step in self.steps)}
        facts["coverage"] = self.lesson.coverage.summary()
        names = [document.name for document in self.version.documents]
        found_by = excerpt(names, rows[PASSAGES], rows["examples.jsonl"], rows[QUESTIONS])
        (folder / SELECTION).write_text(Published.of(found_by).to_json(), encoding="utf-8")
        return write_candidate(self.maker.artifacts, self.version, folder, rows, **facts)


async def _watch(run: Training, tell: Tell) -> Candidate:
    work = asyncio.create_task(asyncio.to_thread(run.run))
    told = 0
    while not work.done():
        await asyncio.wait([work], timeout=REPORT_S)
        progress = run.progress()
        if progress and len(run.steps) > told:
            told = len(run.steps)
            await tell(progress)
    return work.result()
