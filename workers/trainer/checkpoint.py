"""What an attempt that is cut off leaves to the next one on the same machine: lessons and each loop's state."""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import structlog
import torch

from app.core.memory import Version
from app.core.partition import Part
from app.stores.versions import Job
from workers.trainer.coverage import Coverage
from workers.trainer.exam import Question
from workers.trainer.examples import Example
from workers.trainer.passages import Passage
from workers.trainer.prepare import Lesson

log = structlog.get_logger()
EVERY_S = 20.0
STATE, TARGETS = "state.pt", "targets.pt"
_FORMAT = 11  # of what is kept; an older one is made again
_LESSONS = "lessons.json"


class Checkpoint:
    """One version's folder under home/jobs; used only by an attempt at the same parts, documents, recipe and base."""

    def __init__(self, home: Path, version: Version, base_digest: str, parts: int = 1) -> None:
        key = [_FORMAT, version.recipe, [asdict(document) for document in version.documents], base_digest, parts]
        self._key = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self._folder = _root(home) / _name(Job(version.tenant, version.memory_id, version.number))

    def of_part(self, part: Part) -> Self:
        """Return where one part's training keeps its state."""
        one = copy.copy(self)
        one._folder = self._folder / f"part-{part.index}"
        return one

    def save_lessons(self, lessons: Sequence[Lesson]) -> None:
        """Keep what was prepared: generated questions would be others the next time."""
        fields = {"key": self._key, "lessons": [asdict(lesson) for lesson in lessons]}
        self._write(_LESSONS, json.dumps(fields).encode())

    def load_lessons(self) -> list[Lesson]:
        """Return what `save_lessons` kept, if it is this attempt's; else none."""
        path = self._folder / _LESSONS
        kept = json.loads(path.read_text()) if path.is_file() else {}
        return [_lesson(fields) for fields in kept["lessons"]] if kept.get("key") == self._key else []

    def save(self, state: dict[str, Any], name: str = STATE) -> None:
        """Keep the loop's state, or the teacher's targets, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f"{name}.part"
        torch.save({"key": self._key, **state}, part)
        self._place(part, name)

    def load(self, name: str = STATE) -> dict[str, Any] | None:
        """Return what `save` kept last, if it is this attempt's."""
        path = self._folder / name
        if not path.is_file():
            return None
        state: dict[str, Any] = torch.load(path, weights_only=True)
        return state if state.pop("key") == self._key else None

    def drop(self) -> None:
        """Forget all of it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f"{name}.part"
        part.write_bytes(data)
        self._place(part, name)

    def _place(self, part: Path, name: str) -> None:
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self._folder / name)


def drop_leftovers(home: Path, open_jobs: Collection[Job]) -> None:
    """Forget what was kept for jobs that are over: their documents' text is in it."""
    kept = {_name(job) for job in open_jobs}
    root = _root(home)
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
            log.info("checkpoint.dropped", job=folder.name)


def _lesson(fields: dict[str, Any]) -> Lesson:
    return Lesson(
        examples=[Example(**row) for row in fields["examples"]],
        passages=[Passage(**row) for row in fields["passages"]],
        questions=[Question(**row) for row in fields["questions"]],
        coverage=Coverage.from_dict(fields["coverage"]),
        watched=[Question(**row) for row in fields["watched"]],
    )


def _root(home: Path) -> Path:
    return home.resolve() / "jobs"


def _name(job: Job) -> str:
    return str(job).replace("/", ".")
