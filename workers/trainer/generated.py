"""What a generator has worded, kept under the trainer's home: a retry, or a version with one more document, asks less.

A file holds the examples of one kind that one passage gave, under a digest of all that they depend on. Files lie in
a folder for each memory in a folder for each tenant: they are text of its documents, and are dropped with it.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, astuple
from pathlib import Path

import structlog

from workers.trainer import prompts
from workers.trainer.examples import Example
from workers.trainer.kept import keep, kept
from workers.trainer.sources import Kind, Made, Source

log = structlog.get_logger()
MAX_AGE_S = 30 * 24 * 3600.0
Owner = tuple[str, str]  # tenant, memory id


class ExampleCache:
    """What one generator worded for one memory."""

    def __init__(self, home: Path, owner: Owner, generator: str, seed: int) -> None:
        """Build a cache.

        Args:
            generator: tells one generator from another.
            seed: of the recipe: another one asks again.
        """
        self._folder = _root(home).joinpath(*owner)
        self._asker = [prompts.FORMAT, generator, seed]

    def find(self, kind: Kind, source: Source) -> Made | None:
        """Return what was kept, if anything was."""
        path = self._path(kind, source)
        fields = kept(path)
        if fields is None:
            return None
        os.utime(path)  # in use: it begins to age again
        return Made([Example(**row) for row in fields["examples"]], Counter(fields["dropped"]))

    def keep(self, kind: Kind, source: Source, made: Made) -> None:
        """Keep what a kind made of a passage; nothing where nothing came of it, to be asked for again."""
        if made.examples:
            keep(
                self._path(kind, source), {"examples": [asdict(one) for one in made.examples], "dropped": made.dropped}
            )

    def _path(self, kind: Kind, source: Source) -> Path:
        facts = [(fact.told, fact.span) for fact in source.facts]
        told = [source.name, source.passage.document, source.passage.index, source.told, facts]
        depends = [*self._asker, type(kind).__name__, astuple(kind), told]  # type: ignore[call-overload]
        return self._folder / f"{hashlib.sha256(json.dumps(depends).encode()).hexdigest()}.json"


def owners(home: Path) -> list[Owner]:
    """List the memories that something is kept for."""
    return [(folder.parent.name, folder.name) for folder in _root(home).glob("*/*")]


def drop_generated(home: Path, gone: Collection[Owner], *, now: float) -> None:
    """Drop what is kept for memories that are gone, and what has not been used for `MAX_AGE_S`."""
    for tenant, memory_id in gone:
        shutil.rmtree(_root(home) / tenant / memory_id, ignore_errors=True)
        log.info("generated.dropped", memory_id=memory_id)
    for path in _root(home).glob("*/*/*"):
        with suppress(FileNotFoundError):  # another trainer drops too
            if now - path.stat().st_mtime > MAX_AGE_S:
                path.unlink()


def _root(home: Path) -> Path:
    return home.resolve() / "cache" / "examples"
