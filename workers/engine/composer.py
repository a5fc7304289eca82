"""Composites in service: built when first asked for, proven by the engine itself, gone with any of their members."""

import asyncio
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from app.core.canary import Canary
from app.core.composition import Composition
from app.core.names import AdapterName
from app.core.proof import Proof, Scores, judge_composite
from app.errors import AdapterRejected, CompositeRejected, ModelNotFound, NotFound, ServiceError
from app.stores.artifacts import ArtifactStore
from app.stores.copies import SWEEP_S, sweep_copies
from workers.engine.adapters import AdapterSet, Loaded
from workers.engine.candidates import Candidate
from workers.engine.compose import Composites, Draft
from workers.engine.probes import Probe, Prover
from workers.engine.vllm_engine import Adapter
from workers.engine.weights import learn

log = structlog.get_logger()

_SWEEP_S = 30.0
_REFUSALS = 256


@dataclass(frozen=True)
class Composed:
    """A composite that answers by its name; `facts` say how it was made and what was measured of it."""

    loaded: Loaded
    facts: dict[str, Any]


class Composer:
    """Builds composites on demand, and lets go of them."""

    def __init__(
        self,
        adapters: AdapterSet,
        composites: Composites,
        store: ArtifactStore,
        prover: Prover,
        text: Callable[[], tuple[Probe, ...]],
    ) -> None:
        """Build one.

        Args:
            text: the probes of plain text; blocks.
        """
        self._adapters, self._composites, self._store = adapters, composites, store
        self._prover, self._text = prover, text
        self._building = asyncio.Lock()  # one at a time: a merge takes memory and every core
        self._asked: Counter[Composition] = Counter()
        self._refused: OrderedDict[str, str] = OrderedDict()
        self._erased: set[tuple[str, str]] = set()
        self._swept_at, self._copies_swept_at = -_SWEEP_S, -SWEEP_S
        self._sweeping: asyncio.Task[None] | None = None

    async def compose(self, composition: Composition) -> Composed:
        """Make the composite answer by its name; built once, however many ask, and at once if it is there.

        Raises:
            ModelNotFound: the artifact store does not hold a member.
            AdapterRejected: a member is not fit to load, or the engine cannot load the composite.
            CompositeRejected: it broke; the text has the figures.
            SlotsFull: as in `AdapterSet.load`.
        """
        text = str(composition.name)
        if text in self._refused:
            raise CompositeRejected(self._refused[text], "memory.compose")
        self._asked[composition] += 1
        try:
            loaded = await self._admit(composition)
            try:
                facts = await asyncio.to_thread(self._composites.facts, composition.name)
            except NotFound:  # loaded, and its files are gone: somebody cleared the folder
                await self._adapters.remove(text)
                loaded = await self._admit(composition)
                facts = await asyncio.to_thread(self._composites.facts, composition.name)
        finally:
            self._asked[composition] -= 1
            self._asked += Counter()  # drops what is zero
        return Composed(loaded, facts)

    async def purge(self, tenant: str, owner: str, *, files: bool) -> list[str]:
        """Let go of every composite that a memory is part of, and, last, of its files and of copies of the memory.

        Args:
            files: whether to erase as well as to unload; an engine may still read them for a moment after.

        Returns:
            The composites found.

        Raises:
            AdapterBusy: requests for one did not end in time.
        """
        if files:
            self._erased.add((tenant, owner))  # ids are never given again
        asked = [one.name for one in self._asked if any((m.tenant, m.owner) == (tenant, owner) for m in one.members)]
        found = {*asked, *await asyncio.to_thread(self._composites.made_of, tenant, owner)}
        for name in sorted(found, key=str):
            await self._adapters.remove(str(name))
            if files:
                await asyncio.to_thread(self._composites.drop, name)
        if files:
            await asyncio.to_thread(self._store.drop_cached, tenant, owner)
        return sorted(map(str, found))

    def sweep_now_and_then(self) -> None:
        """Sweep in the background, if the last time is a while ago: what an erasure could not reach goes then."""
        now = time.monotonic()
        if now - self._swept_at >= _SWEEP_S and (self._sweeping is None or self._sweeping.done()):
            self._swept_at = now
            self._sweeping = asyncio.create_task(self.sweep())

    async def sweep(self) -> None:
        """Let go of the composites of which a member is gone, and of what a crash or an ended engine left."""
        try:
            orphans = await asyncio.to_thread(self._composites.orphans)
            for name in orphans:
                if not await self._adapters.remove(str(name)):  # what was loaded is erased the next time
                    await asyncio.to_thread(self._composites.drop, name)
                    log.info("composite.dropped", adapter=str(name))
            await asyncio.to_thread(self._composites.drop_dead)
            await asyncio.to_thread(self._composites.drop_drafts, _texts(one.name for one in self._asked))
            await self._sweep_copies()
        except (OSError, ServiceError) as error:
            log.warning("composites.not_swept", error=str(error))

    async def _sweep_copies(self) -> None:
        now = time.monotonic()
        if now - self._copies_swept_at >= SWEEP_S:
            self._copies_swept_at = now
            await sweep_copies(self._store)

    async def _admit(self, composition: Composition) -> Loaded:
        text = str(composition.name)
        try:
            return await self._adapters.admit(text, lambda: self._fetch(composition))
        except AdapterRejected:
            if not await asyncio.to_thread(self._composites.is_finished, composition.name):
                raise
        # what was kept is no longer what it was, or not for this engine: built anew
        await asyncio.to_thread(self._composites.drop, composition.name)
        return await self._adapters.admit(text, lambda: self._fetch(composition))

    async def _fetch(self, composition: Composition) -> Candidate:
        if not self._erased.isdisjoint((member.tenant, member.owner) for member in composition.members):
            raise ModelNotFound("A memory of this composite has been erased.", "memory.ids")
        try:
            return await self._adapters.candidate(composition.name)
        except NotFound:
            pass
        weights = composition.weights
        if isinstance(weights, str):
            weights = await learn(composition, self._gain)
        async with self._building:
            draft = await asyncio.to_thread(self._composites.build, composition, weights)
        return Candidate(draft.folder, lambda adapter: self._prove(adapter, draft))

    async def _gain(self, trial: Composition) -> float:
        """Build a composite for the sake of its figures; one that was not there before is let go again."""
        try:
            composed = await self.compose(trial)
        except CompositeRejected:
            return -math.inf
        if composed.loaded.cold:
            await self._adapters.remove(str(trial.name))
            await asyncio.to_thread(self._composites.drop, trial.name)
        losses: list[float] = composed.facts["proof"]["members"]
        return -sum(losses) / len(losses)

    async def _prove(self, adapter: Adapter, draft: Draft) -> None:
        probes = [probe for member in draft.probes for probe in member]
        scores = iter(await self._prover.measure(adapter, probes))
        members = [[next(scores) for _ in member] for member in draft.probes]
        text = await self._prover.measure(adapter, await asyncio.to_thread(self._text))
        proof = Proof([Scores.joined(one) for one in members], Scores.joined(text), draft.text_rise)
        verdict = judge_composite(proof)
        log.info("composite.judged", adapter=adapter[0], passed=verdict.passed, **proof.to_dict())
        if not verdict.passed:
            await asyncio.to_thread(self._composites.drop, draft.composition.name)
            raise CompositeRejected(self._refuse(adapter[0], verdict.reason, proof), "memory.compose")
        canaries = [(probes[0], one[0]) for probes, one in zip(draft.probes, members, strict=True)]
        probe, shown = max(canaries, key=lambda pair: pair[1].distance)
        canary = Canary(probe.prompt, probe.answer, shown.composite, shown.base)
        await asyncio.to_thread(self._composites.finish, draft, canary, proof.to_dict(), self._adapters.names)

    def _refuse(self, text: str, reason: str, proof: Proof) -> str:
        """Return the sentence, which is kept: the same recipe breaks in the same way."""
        members = ", ".join(f"{one.loss:.2f}" for one in proof.members)
        self._refused[text] = (
            f"The composite broke and is not served: {reason}. Nats per token lost against the base model: "
            f"{members} by member, {proof.text.loss:.2f} in plain text. Compose fewer memories, or by another method."
        )
        while len(self._refused) > _REFUSALS:
            self._refused.popitem(last=False)
        return self._refused[text]


def _texts(names: Iterable[AdapterName]) -> frozenset[str]:
    return frozenset(map(str, names))
