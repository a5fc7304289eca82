"""Who answers a request, and from what: the memory that it names, or the one that its question is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.core.modes import Mode, Signals, choose_mode, is_learned, share_found
from app.core.names import BASE
from app.core.selection import Considered, Serving, consider, shortlist
from app.engines.fleet import Seat
from app.errors import InvalidRequest, NoPassages
from app.services.context import Library, Reading, check_takes_passages, question_of
from app.services.probe import Probe
from app.services.select import Selector
from app.services.send import Sender
from app.services.target import Extension, Resolver, Target, cache_salt
from app.stores.versions import VersionStore


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        abstained: no memory is about the question, or none knows: the base model answers.
        considered: the candidates, where there were any.
        loaded: where the adapter was loaded to see whether it knows; the answer then finds it there.
    """

    target: Target
    reading: Reading = field(default_factory=Reading)
    abstained: bool = False
    considered: Sequence[Considered] = ()
    loaded: Seat | None = None


@dataclass(frozen=True)
class _Asked:
    """One request.

    Attributes:
        question: the text that it is chosen by.
        as_turns: whether passages may be shown as answers: not where a language is asked for, which may be another one.
    """

    tenant: str
    body: Mapping[str, Any]
    mode: str
    question: str
    probe: Probe
    as_turns: bool

    def salt(self, served: str) -> str:
        return cache_salt(self.tenant, served, self.body.get("cache_salt"))


@dataclass(frozen=True)
class _Trial:
    """What came of asking whether a memory could answer; no mode: it cannot, for that reason."""

    mode: Mode | None
    reading: Reading
    reason: str


class Chooser:
    """Chooses memories and modes."""

    def __init__(
        self, resolver: Resolver, selector: Selector, versions: VersionStore, library: Library, sender: Sender
    ) -> None:
        self._resolver, self._selector, self._versions = resolver, selector, versions
        self._library, self._sender = library, sender

    async def choose(self, tenant: str, path: str, body: Mapping[str, Any], extension: Extension) -> Choice:
        """Choose who answers.

        Raises:
            InvalidRequest, ModelNotFound, MemoryNotReady: as in `Resolver.resolve`.
            NoPassages: the mode needs them and there are none.
            GuardNotFound: a language is asked for that no guard is ready for.
            ServiceError: of the engine that was asked whether an adapter knows.
        """
        choice = await self._choose(tenant, path, body, extension)
        if extension.language is None:
            return choice
        return replace(choice, target=await self._resolver.guarded(tenant, choice.target, extension.language))

    async def _choose(self, tenant: str, path: str, body: Mapping[str, Any], extension: Extension) -> Choice:
        if extension.chooses and body.get("model") != BASE:
            raise InvalidRequest("`memory.ids` says what to choose from: set model to base.", "model")
        target = None if extension.chooses else await self._resolver.resolve(tenant, body.get("model"), extension)
        target = await self._picked(target, body) if target else None
        if target and (not target.adapter or extension.mode == "adapter"):
            return Choice(target)
        if extension.mode in ("context", "both"):
            check_takes_passages(body)
        probe, as_turns = Probe(self._sender, path, body), extension.language is None
        asked = _Asked(tenant, body, extension.mode, question_of(body), probe, as_turns)
        return await self._named(asked, target) if target else await self._chosen(asked, extension)

    async def _named(self, asked: _Asked, target: Target) -> Choice:
        """Use the one memory that was named; it answers even if it does not seem to know."""
        if asked.mode != "auto":
            return Choice(target, await self._find(asked, target.adapters))
        return await self._in_best_mode(asked, target)

    async def _chosen(self, asked: _Asked, extension: Extension) -> Choice:
        ranking = await self._selector.rank(asked.tenant, asked.question, await self._among(asked.tenant, extension))
        short, reasons = shortlist(ranking.candidates, ranking.thresholds), list[str]()
        for candidate in short:
            target = await self._target(asked, candidate.serving, round(candidate.score, 4))
            trial = await self._try(asked, target)
            reasons.append(trial.reason)
            if trial.mode:
                told = consider(ranking.candidates, ranking.thresholds, reasons, taken=True)
                target = target.model_copy(update={"mode": trial.mode})
                return Choice(target, trial.reading, considered=told, loaded=asked.probe.seats.get(target.adapter))
        told = consider(ranking.candidates, ranking.thresholds, reasons, taken=False)
        if short and asked.mode in ("context", "both"):
            raise NoPassages("No memory that the question is about has passages for it: ask with mode adapter.")
        if short and ranking.generalist:
            return replace(await self._generalist(asked, ranking.generalist), considered=told)
        return Choice(Target(asked=BASE), abstained=True, considered=told)

    async def _among(self, tenant: str, extension: Extension) -> frozenset[str] | None:
        if extension.ids == "auto":
            return None
        serving = (await self._selector.catalog(tenant)).servings
        known = {named: one.memory_id for one in serving for named in (one.name, one.memory_id)}
        return frozenset(
            [known.get(named) or (await self._resolver.memory(tenant, named)).id for named in extension.ids]
        )

    async def _try(self, asked: _Asked, target: Target) -> _Trial:
        """See whether and how a memory can answer."""
        reading = Reading() if asked.mode == "adapter" else await self._reading(asked, target.adapters)
        passages = reading.cited
        if asked.mode in ("context", "both"):
            mode: Mode = "context" if asked.mode == "context" else "both"
            reason = f"{len(passages)} passages" if passages else "no passage shares a word with the question"
            return _Trial(mode if passages else None, reading, reason)
        knowledge = await asked.probe.ask(target.adapter, asked.salt(target.adapter), asked.salt(BASE))
        knows, reason = (knowledge.knows, str(knowledge)) if knowledge else (False, "it would say nothing")
        if asked.mode == "adapter":
            return _Trial("adapter" if knows else None, Reading(), reason if knows else f"does not know: {reason}")
        found = share_found(asked.question, "\n".join(one.text for one in passages)) if passages else None
        scores = await self._versions.scores(asked.tenant, target.memory_id, target.version)
        learned = is_learned(asked.question, [one.shown.question for one in passages])
        chosen = choose_mode(scores, Signals(found, knows, learned))
        told = f"{'knows' if knows else 'does not know'}: {reason}"
        told += "; no passages" if found is None else f"; {found:.0%} of the question's words in passages"
        return _Trial(chosen, reading if chosen in ("context", "both") else Reading(), told)

    async def _generalist(self, asked: _Asked, serving: Serving) -> Choice:
        """Ask the generalist, whether it seems to know or not."""
        target = await self._target(asked, serving, None)
        if asked.mode == "adapter":
            return Choice(target)
        return await self._in_best_mode(asked, target)

    async def _in_best_mode(self, asked: _Asked, target: Target) -> Choice:
        """Have a memory answer in the mode that promises most, from its weights if none does."""
        trial = await self._try(asked, target)
        chosen = target.model_copy(update={"mode": trial.mode or "adapter"})
        return Choice(chosen, trial.reading, loaded=asked.probe.seats.get(target.adapter))

    async def _reading(self, asked: _Asked, adapters: tuple[str, ...]) -> Reading:
        """Return the passages that a memory has for the question; none where there are none to be had."""
        try:
            check_takes_passages(asked.body)
            return await self._find(asked, adapters)
        except (NoPassages, InvalidRequest):
            return Reading()

    async def _find(self, asked: _Asked, adapters: tuple[str, ...]) -> Reading:
        return await self._library.find(adapters, asked.question, asked.body, as_turns=asked.as_turns)

    async def _target(self, asked: _Asked, serving: Serving, score: float | None) -> Target:
        own = {"memory_id": serving.memory_id, "version": serving.version, "adapters": serving.adapters}
        return await self._picked(Target(asked=BASE, adapter=serving.adapters[0], score=score, **own), asked.body)

    async def _picked(self, target: Target, body: Mapping[str, Any]) -> Target:
        """Pick the part that the question is for, where there are parts; passages come from all of them."""
        return target.picking(await self._library.pick(target.adapters, body))
