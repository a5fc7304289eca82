"""One part's training: the loop in a thread, what it tells of itself, and the folder that it leaves."""

import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from app.core.memory import Version
from app.core.partition import Part
from app.core.published import excerpt
from app.core.recipe import Recipe
from app.errors import LeaseLost
from app.rank import SELECTION, Published
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from workers.trainer.canary import make_canary
from workers.trainer.checkpoint import EVERY_S, TARGETS, Checkpoint
from workers.trainer.encode import Row
from workers.trainer.follow import Progress, Tell, follow
from workers.trainer.model import attach_lora, load_base, save_adapter
from workers.trainer.prepare import Lesson
from workers.trainer.replay import REPLAY_FOLDER
from workers.trainer.replay_targets import with_replay_targets
from workers.trainer.restraint import Restraint, restraint
from workers.trainer.targets import Target
from workers.trainer.teacher import ask_teacher
from workers.trainer.train import Loop, Step
from workers.trainer.write import PASSAGES, QUESTIONS, Candidate, scratch, write_candidate


@dataclass(frozen=True)
class Ground:
    """What every part of a version is trained on: the base model, and where things are."""

    settings: Settings
    artifacts: ArtifactStore
    base: Path
    base_digest: str


@dataclass(frozen=True)
class Course:
    """What one part is trained on.

    `recipe` is from `suited` for the whole memory: all parts are trained as was planned for it. `held_out` says when to
    stop, `general` what the LoRA is held back from changing.
    """

    recipe: Recipe
    lesson: Lesson
    rows: list[Row]
    held_out: list[Row]
    general: list[Row]
    part: Part = field(default_factory=Part)


@dataclass
class Training:
    """One run of the loop, in a thread, with what it has told so far."""

    ground: Ground
    version: Version
    course: Course
    checkpoint: Checkpoint
    stop: threading.Event

    def __post_init__(self) -> None:
        self.recipe = self.course.part.seeded(self.course.recipe)
        self.steps: list[Step] = []
        self.read: tuple[int, int] | None = None  # of what the base model reads before the steps
        self.begun_with = 0  # steps of an attempt before
        self.began, self.ended = time.monotonic(), 0.0

    def progress(self) -> Progress | None:
        """Return how far the loop is; None before there is anything to tell.

        The time left is at most that: the loop may end early.
        """
        if not self.steps:
            return self.read and {"stage": "training", "done": self.read[0], "total": self.read[1]}
        last, elapsed, part = self.steps[-1], time.monotonic() - self.began, self.course.part
        own = self.steps[self.begun_with :]
        left = last.steps - last.index + (part.of - part.index) * last.steps
        return {
            "stage": "training",
            **({"part": part.index, "parts": part.of} if part.of > 1 else {}),
            "step": last.index,
            "steps": last.steps,
            "epoch": last.epoch,
            "loss": round(last.loss, 4),
            "tokens_per_s": self.tokens_per_s(),
            "eta_s": round(left * elapsed / max(1, len(own)), 1),
        }

    def tokens_per_s(self) -> float:
        """Return how fast the loop was, or is."""
        elapsed = (self.ended or time.monotonic()) - self.began
        return round(sum(step.tokens for step in self.steps[self.begun_with :]) / elapsed, 1)

    def run(self) -> Candidate:
        """Load, train, make the canary and write the candidate; blocks."""
        settings, recipe = self.ground.settings, self.recipe
        if settings.trainer_threads:
            torch.set_num_threads(settings.trainer_threads)
        model = attach_lora(load_base(str(self.ground.base), settings.device, settings.dtype), recipe, recipe.seed)
        held_back = self._held_back(model, recipe)
        self._loop(Loop(model, self._taught(model, recipe), recipe, self.course.held_out, held_back))
        folder = scratch(settings.home)
        save_adapter(model, folder)
        return self._write(folder, make_canary(model, self.course.rows).to_dict())

    def _held_back(self, model: Any, recipe: Recipe) -> Restraint:
        home, digest = self.ground.settings.home, self.ground.base_digest
        return restraint(model, self.course.general, recipe, home, digest, on_read=self._note_read)

    def _note_read(self, done: int, total: int) -> None:
        self.read = done, total

    def _taught(self, model: Any, recipe: Recipe) -> list[Row]:
        """Return the rows with what a teacher says of them, where they have one; it is asked once."""
        folder = self.ground.settings.home / REPLAY_FOLDER
        digest = self.ground.base_digest
        rows = with_replay_targets(model, self.course.rows, recipe, folder, digest, on_read=self._note_read)
        if not recipe.needs_teacher:
            return rows
        kept = self.checkpoint.load(TARGETS)
        if kept is None:
            asked = [row if not row.replayed else replace(row, teacher_prompt=()) for row in rows]
            said = ask_teacher(model, asked, recipe, self._note_read)
            kept = {"targets": [one and vars(one) for one in said]}
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
        lesson, part = self.course.lesson, self.course.part
        rows = {
            "examples.jsonl": [asdict(example) for example in lesson.examples],
            "coverage.jsonl": lesson.coverage.rows(),
            PASSAGES: [asdict(passage) for passage in lesson.passages],
            "steps.jsonl": [asdict(step) for step in self.steps],
            QUESTIONS: [asdict(question) for question in lesson.questions],
        }
        base = {"digest": self.ground.base_digest, "name": self.ground.base.name}
        facts = {"base": base, "canary": canary, "trained_tokens": sum(step.tokens for step in self.steps)}
        facts |= {"coverage": lesson.coverage.summary(), **({"part": asdict(part)} if part.of > 1 else {})}
        names = [document.name for document in self.version.documents]
        files = rows[PASSAGES], rows["examples.jsonl"], rows[QUESTIONS]
        found_by = excerpt(names, *files, is_named=part.index > 1)
        (folder / SELECTION).write_text(Published.of(found_by).to_json(), encoding="utf-8")
        return write_candidate(self.ground.artifacts, self.version, folder, rows, **facts)


async def watch(run: Training, tell: Tell) -> Candidate:
    """Run a training in a thread, telling how far it is."""
    return await follow(run.run, lambda: (run.read, len(run.steps)), run.progress, tell)
