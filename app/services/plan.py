"""Plans: what there is to learn is counted here, and `app.core.plan` decides how to train it."""

import asyncio
import math
from collections.abc import Sequence

import structlog

from app.core.capacity import Base
from app.core.documents import Document
from app.core.load import Facts, Load, count_facts, estimate_tokens, learned_text
from app.core.plan import Plan, Wish, make_plan, planned_recipe
from app.core.recipe import Recipe
from app.engines.client import EngineClient
from app.engines.fleet import Fleet
from app.errors import InvalidRequest, NoTrainer, ServiceError, TooMuch, UnreadableDocument
from app.services.apart import apart
from app.settings import Settings
from app.stores.bases import BaseStore

log = structlog.get_logger()

COUNT_S = 20.0  # what an engine gets to count tokens
FACTS_S = 60.0  # what counting facts gets, beside a second for so many characters: four times what a slow core takes
CHARACTERS_A_SECOND = 10_000
_SLICE = 100_000  # characters that an engine is sent at once


class Planner:
    """Plans the training of documents on the base model that trainers have described."""

    def __init__(self, settings: Settings, bases: BaseStore, fleet: Fleet, client: EngineClient) -> None:
        self._settings, self._bases, self._fleet, self._client = settings, bases, fleet, client

    async def plan(self, load: Load | Sequence[Document], wish: Wish) -> Plan:
        """Plan a load, or documents, for as many adapters as one engine can hold.

        Raises:
            NoTrainer: no trainer has described its base model yet.
            InvalidRequest: no live engine takes the rank that was given.
            TooMuch: one engine cannot hold so many adapters, or one adapter the load where it may not be split.
        """
        if wish.rank_given:
            self.check_rank(wish.recipe.rank)
        base = await self._bases.current()
        if base is None:
            raise NoTrainer("No trainer has described its base model yet: start one with `lorekeep trainer`.")
        return await self._make(base, load, wish)

    async def draft(self, documents: Sequence[Document], wish: Wish) -> tuple[Recipe, Plan | None]:
        """Return the recipe that each adapter is trained with, and the plan of how many there are.

        The recipe is the wish's own, and the plan None, while no trainer has described its base model.

        Raises:
            InvalidRequest: as in `plan`.
            TooMuch: as in `plan`, where no rank was given.
        """
        if wish.rank_given:
            self.check_rank(wish.recipe.rank)
        base = await self._bases.current()
        if base is None:
            return wish.recipe, None
        plan = await self._make(base, documents, wish)
        return planned_recipe(wish.recipe, plan), plan

    def check_rank(self, rank: int, asked_by: str = "recipe.rank", instead: str = "give a smaller one") -> None:
        """Refuse a rank that no live engine takes, before anything is trained with it; while none lives, none.

        Args:
            asked_by: the field of the request that asks for it.
            instead: what its sender can do about it.

        Raises:
            InvalidRequest: the text says what engines take.
        """
        most = max((one.max_lora_rank for one in self._fleet.engines), default=rank)
        if rank > most:
            raise InvalidRequest(
                f"{asked_by} asks for rank {rank} and engines take {most} at most: {instead}, or start the engines "
                "with a higher LOREKEEP_MAX_LORA_RANK.",
                asked_by,
            )

    async def _make(self, base: Base, load: Load | Sequence[Document], wish: Wish) -> Plan:
        if not isinstance(load, Load):
            load = await self._weigh(load)
        max_rank = min((one.max_lora_rank for one in self._fleet.engines), default=self._settings.max_lora_rank)
        plan = make_plan(load, base, wish, max_rank=max_rank)
        _check(plan, min((one.capacity for one in self._fleet.engines), default=self._settings.max_cpu_loras))
        return plan

    async def _weigh(self, documents: Sequence[Document]) -> Load:
        """Count facts in a process of its own, where large documents hold nobody up, and tokens on an engine."""
        facts = await count_apart(documents)
        pairs, prose = (
            "\n".join(learned_text(one) for one in documents if one.kind == kind) for kind in ("pairs", "prose")
        )
        try:
            async with asyncio.timeout(COUNT_S):
                return Load(facts, await self._count(pairs), await self._count(prose))
        except (ServiceError, TimeoutError) as error:
            log.info("tokens.estimated", error=type(error).__name__)
            return Load(facts, estimate_tokens(pairs), estimate_tokens(prose), tokens_estimated=True)

    async def _count(self, text: str) -> int:
        total = 0
        for start in range(0, len(text), _SLICE):
            async with self._fleet.seat(None) as seat:
                total += len(await self._client.tokenize(seat.engine.url, text[start : start + _SLICE]))
        return total


async def count_apart(documents: Sequence[Document], *, time_limit_s: float = FACTS_S) -> Facts:
    """Count the facts of documents in a process of its own.

    Args:
        time_limit_s: what it gets beside the time that the documents' length gives it.

    Raises:
        UnreadableDocument: it took too long or too much memory.
    """
    characters = sum(len(learned_text(one)) for one in documents)
    refusal = UnreadableDocument(
        "The documents take too long or too much memory to count what is in them: send them in parts.", "documents"
    )
    limit_s = time_limit_s + characters / CHARACTERS_A_SECOND
    return await apart(count_facts, list(documents), time_limit_s=limit_s, refusal=refusal)


def _check(plan: Plan, capacity: int) -> None:
    if plan.partitions <= (capacity if plan.split else 1):
        return
    ways = f"make at least {math.ceil(plan.partitions / capacity)} memories of them"
    if not plan.split:
        ways = (
            f"leave out `split` for {plan.partitions} adapters that share them" if plan.partitions <= capacity else ways
        )
    raise TooMuch(
        f"There are {plan.facts} facts in {plan.tokens} tokens, and at rank {plan.rank}, the highest that engines "
        f"take, this base model holds about {plan.most_tokens} tokens at a recall of {plan.target_recall:g}: that is "
        f"{plan.partitions} adapters, and an engine holds {capacity}; {ways}, raise LOREKEEP_MAX_LORA_RANK, or give "
        "recipe.rank to train a single one all the same.",
        "documents",
    )
