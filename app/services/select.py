"""Which memories of a tenant a question is about: a joint index of all that serve, never of any that no longer do.

What serves is looked at for each question, which costs the registry a millisecond or two for a thousand memories; the
index is keyed by it, adapters being immutable. A change is met by a new index, made of the counts that are kept for
each version.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from app.control import control_questions
from app.core.names import AdapterName
from app.core.published import evenly, excerpt
from app.core.selection import Candidate, Serving, Thresholds, calibrate, rank
from app.errors import NotFound
from app.rank import SELECTION, Counted, JointIndex, Published
from app.stores.artifacts import MANIFEST, ArtifactStore
from app.stores.serving import ServingStore

log = structlog.get_logger()

TENANTS = 64  # whose indexes are kept
PROBES = 128  # questions of a tenant's own that its threshold is set by


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
        digest: of what served then.
        published: by adapter; without those whose files are gone.
        bodies: by adapter and card: a memory's texts and what its owner says of it.
    """

    digest: str = ""
    servings: tuple[Serving, ...] = ()
    published: dict[str, Published] = field(default_factory=dict)
    bodies: dict[tuple[str, str], Counted] = field(default_factory=dict)
    index: JointIndex = field(default_factory=lambda: JointIndex([]))
    thresholds: Thresholds = field(default_factory=lambda: Thresholds(0.0))
    generalist: Serving | None = None

    def scores(self, question: str) -> dict[str, float]:
        """Return each memory's score for a question, by its id; those of 0 left out."""
        found = self.index.score(question)
        return {self.servings[at].memory_id: float(found[at]) for at in found.nonzero()[0]}


class Selector:
    """Ranks memories."""

    def __init__(self, store: ServingStore, artifacts: ArtifactStore) -> None:
        self._store, self._artifacts = store, artifacts
        self._catalogs: OrderedDict[str, Catalog] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def rank(self, tenant: str, question: str, among: frozenset[str] | None = None) -> Ranking:
        """Rank a tenant's memories for a question.

        Args:
            among: ids; without them every memory that is no generalist.
        """
        catalog = await self.catalog(tenant)
        servings = [one for one in catalog.servings if (one.memory_id in among if among else not one.generalist)]
        scores = catalog.scores(question)
        return Ranking(rank(servings, scores), catalog.thresholds, catalog.generalist)

    async def catalog(self, tenant: str) -> Catalog:
        """Return what serves now, indexed."""
        async with self._locks.setdefault(tenant, asyncio.Lock()):
            known = self._catalogs.get(tenant, Catalog())
            digest, servings = await self._store.look(tenant, known.digest)
            if servings is not None:
                known = await asyncio.to_thread(self._renew, known, digest, servings)
            self._catalogs[tenant] = known
            self._catalogs.move_to_end(tenant)
            while len(self._catalogs) > TENANTS:
                self._catalogs.popitem(last=False)
            return known

    def _renew(self, old: Catalog, digest: str, servings: Sequence[Serving]) -> Catalog:
        """Make the next catalog; of the old one only what is the same is taken over."""
        read = {one.adapter: old.published.get(one.adapter) or self._read(one.adapter) for one in servings}
        published = {adapter: one for adapter, one in read.items() if one}
        there = tuple(one for one in servings if one.adapter in published)
        bodies = {
            (one.adapter, one.card): old.bodies.get((one.adapter, one.card))
            or published[one.adapter].body.joined(Counted.of([one.card]))
            for one in there
        }
        index = JointIndex(list(bodies.values()))
        probes = [probe for one in there if not one.generalist for probe in published[one.adapter].probes]
        generalists = [one for one in there if one.generalist]
        return Catalog(
            digest,
            there,
            published,
            bodies,
            index,
            _thresholds(index, probes),
            generalists[-1] if generalists else None,
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
            documents = [str(one["name"]) for one in json.loads(self._artifacts.read_file(name, MANIFEST))["documents"]]
        except NotFound:
            log.info("selection.version_gone", adapter=adapter)
            return None
        rows = [self._rows(name, file) for file in ("passages.jsonl", "examples.jsonl", "questions.jsonl")]
        return Published.of(excerpt(documents, *rows))

    def _rows(self, name: AdapterName, file: str) -> list[Mapping[str, Any]]:
        """Return a file's rows; an import may have brought anything under this name, or nothing."""
        try:
            rows: list[Any] = self._artifacts.read_lines(name, file)
        except (NotFound, ValueError):
            return []
        return [row for row in rows if isinstance(row, dict)]


def _thresholds(index: JointIndex, probes: Sequence[str]) -> Thresholds:
    """Set a tenant's thresholds by what its own questions and the control questions score."""
    own = [float(index.score(probe).max(initial=0)) for probe in evenly(probes, PROBES)]
    control = [float(index.score(one.question).max(initial=0)) for one in control_questions()]
    return Thresholds(calibrate(own, control))
