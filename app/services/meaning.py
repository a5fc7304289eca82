"""Embeddings of memories, where an endpoint for them is set: how near a question is to each memory.

A version's vectors are made once, in the background, and kept where deleting the memory erases them. Until they are
there, and whenever the endpoint fails, memories are ranked by their words alone.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import structlog
from numpy.typing import NDArray

from app.control import control_questions
from app.core import published
from app.core.names import AdapterName
from app.core.selection import ABSTAIN_BY_ONE, Serving, calibrate
from app.engines.embeddings import EmbeddingsClient
from app.errors import EmbeddingsFailed, NotFound
from app.stores.artifacts import ArtifactStore

log = structlog.get_logger()

PASSAGES = 32  # of a version, that are embedded
PROBES = 128  # questions that the threshold is set by
AGAIN_S = 30.0  # after a failure
_LONGEST = 4000  # characters of one text
VERSIONS = 2048  # whose vectors are held, of all tenants: half a gigabyte where a vector is 1,536 numbers
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class _Kept:
    """One version's vectors, of length 1."""

    passages: Vectors
    probes: Vectors


@dataclass(frozen=True)
class Near:
    """How near each memory's nearest passage is to a question, by memory id, and what that must exceed."""

    similarities: Mapping[str, float]
    threshold: float


@dataclass(frozen=True)
class _Joined:
    """The passages of several versions, one after the other; `starts` are each one's first."""

    adapters: tuple[str, ...]
    passages: Vectors
    starts: NDArray[np.int64]
    threshold: float

    @classmethod
    def of(cls, kept: Mapping[str, _Kept], control: Vectors) -> Self:
        """Put passages together, and set the threshold by the versions' own and by the control questions."""
        passages = np.concatenate([one.passages for one in kept.values()])
        probes = np.concatenate([one.probes for one in kept.values()])
        own = (probes[:: max(1, len(probes) // PROBES)] @ passages.T).max(axis=1)
        starts = np.cumsum([0, *(len(one.passages) for one in kept.values())])[:-1]
        threshold = calibrate(own.tolist(), (control @ passages.T).max(axis=1).tolist(), ABSTAIN_BY_ONE)
        return cls(tuple(kept), passages, starts, threshold)

    def best(self, asked: Vectors) -> dict[str, float]:
        """Return how near each version's nearest passage is to a question."""
        best = np.maximum.reduceat(self.passages @ asked, self.starts)
        return dict(zip(self.adapters, best.tolist(), strict=True))


@dataclass
class _Tenant:
    """One tenant's vectors, by adapter, and those of the memories that it asked last."""

    kept: dict[str, _Kept] = field(default_factory=dict)
    joined: _Joined | None = None
    joining: asyncio.Lock = field(default_factory=asyncio.Lock)

    def whole(self, servings: Sequence[Serving]) -> list[Serving]:
        """Return those whose vectors are there, of every part."""
        return [one for one in servings if self.kept.keys() >= set(one.adapters)]

    async def join(self, adapters: Iterable[str], control: Vectors) -> _Joined:
        """Return versions' vectors joined; those of the last question where they are the same."""
        kept = {adapter: self.kept[adapter] for adapter in adapters}
        async with self.joining:
            if self.joined is not None and self.joined.adapters == tuple(kept):
                return self.joined
            joined = await asyncio.to_thread(_Joined.of, kept, control)
            if self.kept.keys() >= kept.keys():  # none of them forgotten meanwhile
                self.joined = joined
            return joined


class Meaning:
    """Knows how near questions are to memories."""

    def __init__(self, client: EmbeddingsClient, artifacts: ArtifactStore, most: int = VERSIONS) -> None:
        """Know nothing yet.

        Args:
            most: versions whose vectors are held; tenants that asked longest ago go first, the last one never.
        """
        self._client, self._artifacts, self._most = client, artifacts, most
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        self._control: Vectors | None = None
        self._making: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._few = asyncio.Semaphore(2)
        self._rest_until = 0.0

    async def near(self, tenant: str, servings: Sequence[Serving], question: str) -> Near | None:
        """Compare a question with memories; None where the endpoint fails, or no memory's vectors are there yet."""
        known = self._known(tenant)
        self._make(tenant, [part for one in servings for part in one.adapters if part not in known.kept])
        if not known.whole(servings) or self._resting():
            return None
        try:
            asked = _unit(await self._client.embed([question[:_LONGEST]]))[0]
        except EmbeddingsFailed as error:
            self._rest(error)
            return None
        if not self._fits(asked):
            return None
        known = self._known(tenant)
        there = known.whole(servings)  # none of them deleted meanwhile
        if not there or self._control is None:
            return None
        joined = await known.join([part for one in there for part in one.adapters], self._control)
        best = await asyncio.to_thread(joined.best, asked)
        near = {one.memory_id: max(best[part] for part in one.adapters) for one in there}
        return Near(near, joined.threshold)

    def keep(self, tenant: str, adapters: Iterable[str]) -> None:
        """Drop a tenant's vectors but those of adapters that serve; what is kept of them goes with their memory."""
        serve, known = set(adapters), self._tenants.get(tenant, _Tenant())
        known.kept = {adapter: one for adapter, one in known.kept.items() if adapter in serve}
        if known.joined and not serve.issuperset(known.joined.adapters):
            known.joined = None
        for (whose, adapter), task in self._making.items():
            if whose == tenant and adapter not in serve:
                task.cancel()

    def _known(self, tenant: str) -> _Tenant:
        if tenant in self._tenants:
            self._tenants.move_to_end(tenant)
        return self._tenants.get(tenant, _Tenant())

    async def settle(self) -> None:
        """Wait until everything that is being made is there, or has failed."""
        while self._making:
            await asyncio.gather(*self._making.values(), return_exceptions=True)

    def _make(self, tenant: str, adapters: Sequence[str]) -> None:
        for adapter in adapters if not self._resting() else ():
            if (tenant, adapter) not in self._making:
                task = asyncio.create_task(self._learn(tenant, adapter))
                self._making[tenant, adapter] = task
                task.add_done_callback(partial(self._made, (tenant, adapter)))

    def _made(self, what: tuple[str, str], _task: asyncio.Task[None]) -> None:
        self._making.pop(what, None)

    async def _learn(self, tenant: str, adapter: str) -> None:
        """Bring in one version's vectors: those that are kept, or new ones."""
        name = AdapterName.parse(adapter)
        try:
            async with self._few:
                width = await self._width()
                kept = await asyncio.to_thread(self._read, name, width) or await self._embed(name)
                if self._fits(kept.passages):
                    self._hold(tenant, adapter, kept)
        except EmbeddingsFailed as error:
            self._rest(error)
        except (NotFound, OSError, ValueError) as error:
            log.warning("embeddings.not_made", adapter=adapter, error=type(error).__name__)

    def _hold(self, tenant: str, adapter: str, kept: _Kept) -> None:
        self._tenants.setdefault(tenant, _Tenant()).kept[adapter] = kept
        self._tenants.move_to_end(tenant)
        while len(self._tenants) > 1 and sum(len(one.kept) for one in self._tenants.values()) > self._most:
            self._tenants.popitem(last=False)

    async def _width(self) -> int:
        """Return how long vectors are: as long as those of the control questions, which are the first."""
        if self._control is None:
            control = _unit(await self._client.embed([one.question for one in control_questions()]))
            self._control = control if self._control is None else self._control
        return int(self._control.shape[-1])

    def _fits(self, vectors: Vectors) -> bool:
        """Say whether vectors are as long as all others; where the endpoint's no longer are, begin anew."""
        if self._control is not None and vectors.shape[-1] == self._control.shape[-1]:
            return True
        self._control = None
        self._tenants.clear()
        return False

    async def _embed(self, name: AdapterName) -> _Kept:
        texts, probes = await asyncio.to_thread(self._texts, name)
        made = _unit(await self._client.embed([*texts, *probes]))
        kept = _Kept(made[: len(texts)], made[len(texts) :])
        await asyncio.to_thread(self._write, name, kept)
        return kept

    def _read(self, name: AdapterName, width: int) -> _Kept | None:
        path = self._path(name)
        if not path.is_file():
            return None
        with np.load(path) as found:
            kept = _Kept(found["passages"], found["probes"])
        return kept if kept.passages.shape[-1] == width else None

    def _write(self, name: AdapterName, kept: _Kept) -> None:
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        with part.open("wb") as file:
            np.savez(file, passages=kept.passages, probes=kept.probes)
        part.replace(path)
        if not self._artifacts.holds(name):
            path.unlink()
            raise NotFound("It was erased while it was embedded.")

    def _path(self, name: AdapterName) -> Path:
        source = hashlib.sha256(f"{self._client.url} {self._client.model}".encode()).hexdigest()[:12]
        return self._artifacts.cache_path(name, f"embeddings-{source}.npz")

    def _texts(self, name: AdapterName) -> tuple[list[str], list[str]]:
        if not self._artifacts.holds(name):
            raise NotFound("There is nothing to embed: it was erased.")
        rows: dict[str, list[dict[str, Any]]] = {}
        for file in ("passages.jsonl", "questions.jsonl"):
            try:
                rows[file] = self._artifacts.read_lines(name, file)
            except NotFound:
                rows[file] = []
        questions = [str(row["question"])[:_LONGEST] for row in rows["questions.jsonl"]]
        passages = [str(row["text"])[:_LONGEST] for row in rows["passages.jsonl"]] or questions
        if not passages:
            raise NotFound("There is nothing to embed.")
        return published.evenly(passages, PASSAGES), published.evenly(questions, published.PROBES)

    def _resting(self) -> bool:
        return asyncio.get_running_loop().time() < self._rest_until

    def _rest(self, error: EmbeddingsFailed) -> None:
        """Leave the endpoint alone for a while; selection goes on by words."""
        self._rest_until = asyncio.get_running_loop().time() + AGAIN_S
        log.warning("embeddings.failed", detail=error.detail)


def _unit(vectors: Sequence[Sequence[float]]) -> Vectors:
    found = np.array(vectors, np.float32)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return found
