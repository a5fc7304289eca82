"""Which memories of a tenant a question is about: a joint index of all that serve, never of any that no longer do.

What serves is looked at for each question, which costs the registry one key while nothing has changed. A change is met
by a new index, made of the counts that are kept for each version: adapters are immutable.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from math import inf
from typing import Any

import numpy as np
import structlog

from app.control import control_questions, general_questions
from app.core.names import AdapterName
from app.core.published import evenly, excerpt
from app.core.selection import ABSTAIN, ABSTAIN_BY_ONE, Candidate, Serving, Thresholds, calibrate, rank
from app.errors import NotFound
from app.rank import SELECTION, Counted, JointIndex, Published
from app.services.meaning import Meaning
from app.stores.artifacts import ArtifactStore
from app.stores.serving import ServingStore

log = structlog.get_logger()

RANKED = 64  # memories of the best, for one question
TENANTS = 64  # whose indexes are kept
PROBES = 128  # questions of a tenant's own that its threshold is set by
AGAIN_S = 10.0  # between looks for files that were not there


@dataclass(frozen=True)
class Ranking:
    """The memories that share anything with a question, best first, and what they must exceed."""

    candidates: list[Candidate]
    thresholds: Thresholds
    generalist: Serving | None


@dataclass(frozen=True)
class Catalog:
    """One tenant's memories at one moment.

    Attributes:
        revision: the tenant's then.
        listed: what served then.
        servings: of those the ones that are indexed.
        published: by adapter; without those whose files are gone.
        bodies: by adapters and card: a memory's texts, of all its parts, and what its owner says of it.
        threshold, threshold_beside: of the score, where it stands alone, and beside embeddings.
        again_at: when to look for the files that were not there; they may be back.
    """

    revision: str = ""
    listed: tuple[Serving, ...] = ()
    servings: tuple[Serving, ...] = ()
    published: dict[str, Published] = field(default_factory=dict)
    bodies: dict[tuple[tuple[str, ...], str], Counted] = field(default_factory=dict)
    index: JointIndex = field(default_factory=lambda: JointIndex([]))
    threshold: float = 0.0
    threshold_beside: float = 0.0
    generalist: Serving | None = None
    again_at: float = inf

    def best(self, question: str, allowed: Sequence[Serving]) -> dict[str, float]:
        """Return the scores of those allowed that score best for a question, by memory id; those of 0 left out."""
        scores, ids = self.index.score(question), {one.memory_id for one in allowed}
        scores = np.where([one.memory_id in ids for one in self.servings], scores, 0)
        places = [at for at in np.argsort(-scores)[:RANKED] if scores[at] > 0]
        return {self.servings[at].memory_id: float(scores[at]) for at in places}


class Selector:
    """Ranks memories."""

    def __init__(
        self,
        store: ServingStore,
        artifacts: ArtifactStore,
        meaning: Meaning | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._artifacts, self._meaning, self._clock = store, artifacts, meaning, clock
        self._catalogs: OrderedDict[str, Catalog] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def rank(self, tenant: str, question: str, among: frozenset[str] | None = None) -> Ranking:
        """Rank a tenant's memories for a question.

        Args:
            among: ids; without them every memory that is no generalist.
        """
        catalog = await self.catalog(tenant)
        allowed = [one for one in catalog.servings if (one.memory_id in among if among else not one.generalist)]
        generalist = catalog.generalist
        if generalist and among is not None and generalist.memory_id not in among:
            generalist = None
        scores = catalog.best(question, allowed)
        near = await self._meaning.near(tenant, allowed, question) if self._meaning else None
        if near is None:
            return Ranking(rank(allowed, scores), Thresholds(catalog.threshold), generalist)
        nearest = dict(sorted(near.similarities.items(), key=lambda pair: -pair[1])[:RANKED])
        thresholds = Thresholds(catalog.threshold_beside, near.threshold)
        return Ranking(rank(allowed, scores, nearest), thresholds, generalist)

    async def catalog(self, tenant: str) -> Catalog:
        """Return what serves now, indexed."""
        async with self._locks.setdefault(tenant, asyncio.Lock()):
            known = self._catalogs.get(tenant, Catalog())
            due = self._clock() >= known.again_at
            revision, listed = await self._store.look(tenant, "" if due else known.revision)
            if listed is not None and (due or tuple(listed) != known.listed):
                known = await asyncio.to_thread(self._renew, known, listed)
            if listed is not None:
                known = replace(known, revision=revision)
                if self._meaning:
                    self._meaning.keep(tenant, _adapters(listed))
            self._catalogs[tenant] = known
            self._catalogs.move_to_end(tenant)
            while len(self._catalogs) > TENANTS:
                self._catalogs.popitem(last=False)
            return known

    def _renew(self, old: Catalog, listed: Sequence[Serving]) -> Catalog:
        """Make the next catalog; of the old one only what is the same is taken over."""
        read = {adapter: old.published.get(adapter) or self._read(adapter) for adapter in _adapters(listed)}
        published = {adapter: one for adapter, one in read.items() if one}
        there = tuple(one for one in listed if published.keys() >= set(one.adapters))
        again_at = inf if len(there) == len(listed) else self._clock() + AGAIN_S
        if (there, tuple(listed)) == (old.servings, old.listed):  # still away
            return replace(old, again_at=again_at)
        bodies = {
            (one.adapters, one.card): old.bodies.get((one.adapters, one.card))
            or reduce(Counted.joined, [*(published[part].body for part in one.adapters), Counted.of([one.card])])
            for one in there
        }
        index = JointIndex(list(bodies.values()))
        specialists = _adapters([one for one in there if not one.generalist])
        probes = [probe for adapter in specialists for probe in published[adapter].probes]
        threshold, beside = _thresholds(index, probes)
        return Catalog(
            listed=tuple(listed),
            servings=there,
            published=published,
            bodies=bodies,
            index=index,
            threshold=threshold,
            threshold_beside=beside,
            generalist=next((one for one in reversed(there) if one.generalist), None),
            again_at=again_at,
        )

    def _read(self, adapter: str) -> Published | None:
        """Return what a version published; made of its other files where an older release wrote them."""
        name = AdapterName.parse(adapter)
        try:
            if kept := Published.from_json(self._artifacts.read_file(name, SELECTION)):
                return kept
        except NotFound:
            pass
        try:
            manifest = self._artifacts.read_manifest(name)
        except NotFound:
            log.info("selection.version_gone", adapter=adapter)
            return None
        rows = [self._rows(name, file) for file in ("passages.jsonl", "examples.jsonl", "questions.jsonl")]
        documents = [str(one["name"]) for one in manifest["documents"]]
        return Published.of(excerpt(documents, *rows, is_named=manifest.get("part", {}).get("index", 1) > 1))

    def _rows(self, name: AdapterName, file: str) -> list[Mapping[str, Any]]:
        """Return a file's rows; an import may have brought anything under this name, or nothing."""
        try:
            rows: list[Any] = self._artifacts.read_lines(name, file)
        except (NotFound, ValueError, RecursionError):
            return []
        return [row for row in rows if isinstance(row, dict)]


def _adapters(servings: Sequence[Serving]) -> list[str]:
    return [adapter for one in servings for adapter in one.adapters]


def _thresholds(index: JointIndex, probes: Sequence[str]) -> tuple[float, float]:
    """Set a tenant's thresholds by what its own questions and the control questions score.

    Each language's general questions must abstain by themselves: among all they would be few, and lost.
    """
    own = _best(index, evenly(probes, PROBES))
    asked = [[one.question for one in control_questions()], *general_questions().values()]
    control = [_best(index, questions) for questions in asked]
    alone, beside = ([calibrate(own, scores, share) for scores in control] for share in (ABSTAIN, ABSTAIN_BY_ONE))
    return max(alone), max(beside)


def _best(index: JointIndex, questions: Sequence[str]) -> list[float]:
    """Return what each question scores for the memory that it fits best."""
    return [float(index.score(question).max(initial=0)) for question in questions]
