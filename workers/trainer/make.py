"""Documents to candidates: examples, then rows, then weights, then a folder in the artifact store for each part."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import httpx
from pydantic import SecretStr

from app.core.documents import Document
from app.core.memory import DocumentRef, Version
from app.core.partition import Part
from app.core.recipe import Recipe
from app.engines.client import EngineClient
from app.errors import DocumentMissing, EmptyDocument, EngineFailed, NotFound
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.bases import BaseStore
from workers.base_model import base_digest, find_base
from workers.chat import load_tokenizer, stop_ids
from workers.trainer.checkpoint import Checkpoint
from workers.trainer.encode import Row, encode_chat, encode_text
from workers.trainer.evaluate import Examiner
from workers.trainer.exam import Question
from workers.trainer.examples import Example, suited
from workers.trainer.follow import REPORT_S, Tell
from workers.trainer.generate import OnProgress
from workers.trainer.generated import ExampleCache
from workers.trainer.null_space import ANSWERED, general_rows
from workers.trainer.prepare import Lesson, prepare
from workers.trainer.prompts import Message
from workers.trainer.replay import REPLAY_FOLDER, general_examples, replayed, shown_at_most
from workers.trainer.teacher import with_teacher_prompts
from workers.trainer.training import Course, Ground, Training, watch
from workers.trainer.write import Candidate, find_candidates, planned_parts


class Maker(Protocol):
    """Makes the candidates of a version."""

    async def make(
        self, version: Version, *, tell: Tell, begin_training: Callable[[], Awaitable[None]], stop: threading.Event
    ) -> list[Candidate]:
        """Make a version's weights, part by part, or find those that an attempt cut off later has left.

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
    ) -> list[Candidate]:
        """See `Maker`."""
        base = await asyncio.to_thread(find_base, self.settings.model)
        ground = Ground(
            self.settings, self.artifacts, base, await asyncio.to_thread(base_digest, base, self.settings.home)
        )
        find = partial(find_candidates, self.artifacts, version, ground.base_digest)
        parts = await asyncio.to_thread(planned_parts, self.artifacts, version)
        found = await asyncio.to_thread(find, parts)
        checkpoint = Checkpoint(self.settings.home, version, ground.base_digest, parts)
        courses: list[Course] = []
        if len(found) < parts:
            courses = await self._courses(version, ground, checkpoint, parts, tell)
            found = await asyncio.to_thread(find, len(courses))
        await begin_training()
        for course in courses:
            if course.part.index not in found:
                training = Training(ground, version, course, checkpoint.of_part(course.part), stop)
                found[course.part.index] = await self._train(training, tell)
        await asyncio.to_thread(checkpoint.drop)
        return [found[index] for index in sorted(found)]

    async def _train(self, training: Training, tell: Tell) -> Candidate:
        candidate = await watch(training, tell)
        if speed := training.tokens_per_s():  # none where an attempt before had done every step
            await self.bases.note_speed(training.ground.base_digest, round(speed * training.recipe.step_cost, 1))
        await asyncio.to_thread(training.checkpoint.drop)
        return candidate

    async def _courses(
        self, version: Version, ground: Ground, checkpoint: Checkpoint, parts: int, tell: Tell
    ) -> list[Course]:
        """Prepare the lessons, or find those of an attempt that was cut off, and turn them into rows."""
        tokenizer = await asyncio.to_thread(load_tokenizer, str(ground.base))
        lessons = await asyncio.to_thread(checkpoint.load_lessons)
        made = lessons or await self._prepare(version, tokenizer, ground.base_digest, parts, tell)
        recipe = suited(Recipe.from_dict(version.recipe), [example for one in made for example in one.examples])
        if not lessons:
            lessons = [await self._with_replay(one, recipe, ground.base_digest, _teller(tell)) for one in made]
            await asyncio.to_thread(checkpoint.save_lessons, lessons)
        ends = await asyncio.to_thread(stop_ids, str(ground.base))
        general: list[Row] = []
        if recipe.protect or recipe.consolidation:
            said = await self._said(ANSWERED, ground.base_digest, _teller(tell))
            limits: dict[str, Any] = {"stop_ids": ends, "max_tokens": self.settings.max_model_len}
            general = await asyncio.to_thread(answered_rows, said, tokenizer, **limits)
        encode = partial(self._course, recipe, tokenizer, ends, general=general)
        own = [Part(index, len(lessons)) for index in range(1, len(lessons) + 1)]
        return [await asyncio.to_thread(encode, *pair) for pair in zip(lessons, own, strict=True)]

    def _course(
        self,
        recipe: Recipe,
        tokenizer: Any,
        ends: Collection[int],
        lesson: Lesson,
        part: Part,
        *,
        general: list[Row],
    ) -> Course:
        most = self.settings.max_model_len
        rows = encode_examples(lesson.examples, tokenizer, stop_ids=ends, max_tokens=most)
        if recipe.needs_teacher:
            rows = with_teacher_prompts(rows, lesson.examples, lesson.passages, tokenizer, most)
        held_out = encode_held_out(lesson.watched, tokenizer, recipe, stop_ids=ends)
        return Course(recipe, lesson, rows, held_out, general, part)

    async def _prepare(
        self, version: Version, tokenizer: Any, base_digest: str, parts: int, tell: Tell
    ) -> list[Lesson]:
        documents = await asyncio.to_thread(self._read, version)
        recipe, settings = Recipe.from_dict(version.recipe), self.settings
        generator = f"{settings.generator_url} {settings.generator_model}" if settings.generator_url else base_digest
        cache = ExampleCache(settings.home, (version.tenant, version.memory_id), generator, recipe.seed)
        return await prepare(documents, tokenizer, recipe, self.ask, _teller(tell), cache=cache, parts=parts)

    async def _with_replay(self, lesson: Lesson, recipe: Recipe, base_digest: str, on_progress: OnProgress) -> Lesson:
        if not (recipe.replay and lesson.examples):
            return lesson
        general = await self._said(shown_at_most(lesson.examples, recipe), base_digest, on_progress)
        return replace(lesson, examples=[*lesson.examples, *replayed(general, lesson.examples, recipe.replay)])

    async def _said(self, most: int, base_digest: str, on_progress: OnProgress) -> list[Example]:
        folder = self.settings.home / REPLAY_FOLDER
        return await general_examples(self.examiner, folder, base_digest, most, on_progress)

    def _read(self, version: Version) -> list[Document]:
        return [self._read_one(version, ref) for ref in version.documents]

    def _read_one(self, version: Version, ref: DocumentRef) -> Document:
        try:
            return Document.from_dict(self.artifacts.read_document(version.tenant, version.memory_id, ref.digest))
        except NotFound as error:
            raise DocumentMissing(
                f"Document {ref.name} is not in the artifact store any more: put it back there and retry, "
                "or upload the documents again."
            ) from error

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


def _teller(tell: Tell) -> OnProgress:
    """Return what tells how far the preparation is, about twice a second."""
    told = 0.0

    async def on_progress(done: int, total: int) -> None:
        nonlocal told
        if done == total or time.monotonic() - told > REPORT_S:
            told = time.monotonic()
            await tell({"stage": "preparing", "done": done, "total": total})

    return on_progress


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


def answered_rows(said: Sequence[Example], tokenizer: Any, *, stop_ids: Collection[int], max_tokens: int) -> list[Row]:
    """Turn what the base model said of the first `ANSWERED` general prompts into rows, and the other prompts alone."""
    answered = encode_examples(said, tokenizer, stop_ids=stop_ids, max_tokens=max_tokens) if said else []
    return [*answered, *general_rows(tokenizer, ANSWERED)]


def encode_held_out(
    questions: Sequence[Question], tokenizer: Any, recipe: Recipe, *, stop_ids: Collection[int]
) -> list[Row]:
    """Turn the held-out ones of some questions into rows, answered as the trained ones are."""
    whole = recipe.answers == "sentence"
    held = [one for one in questions if one.kind == "held_out"]
    pairs = [(one.question, (one.sentence if whole else "") or one.answer) for one in held]
    return [encode_chat(tokenizer, question, answer, stop_ids=stop_ids) for question, answer in pairs]
