"""The plan of an upload: from a load and what an adapter holds to rank, partitions, steps and the recall to expect."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.core.capacity import Base, BaseShape, Law, law_for
from app.core.load import Load, rows_an_epoch, tokens_an_epoch
from app.core.recipe import Recipe

TARGET_RECALL = 0.95
_SURELY = 0.999  # no law promises more


@dataclass(frozen=True)
class Wish:
    """What a plan is asked for.

    Attributes:
        rank_given: the recipe's own rank and alpha are meant; else the plan chooses them.
        target_recall: share of facts, 0-1, to be recalled word for word.
        split: what one adapter cannot hold may be learned by several.
    """

    recipe: Recipe = field(default_factory=Recipe)
    rank_given: bool = False
    target_recall: float = TARGET_RECALL
    split: bool = True


@dataclass(frozen=True)
class Plan:
    """What training a load takes, and what it will give.

    Attributes:
        partitions: how many adapters the load must be split into; the recall is each one's.
        split: whether it may be.
        parameters, adapter_mb, most_tokens: of one adapter; the last at the target recall.
        exposures_per_fact: how often each fact is shown, at most: training ends as soon as it is good enough.
        steps: of all adapters together; what a generator words comes on top, of these and of `estimated_s`.
        recall_low, recall_high: what to expect of a single training.
        estimated_s: at most so long at the measured speed; None where none was measured.
        calibrated: whether the law was fitted on this base model and way of training.
    """

    rank: int
    alpha: int
    rank_given: bool
    target: str
    partitions: int
    facts: int
    tokens: int
    tokens_estimated: bool
    parameters: int
    adapter_mb: float
    most_tokens: int
    exposures_per_fact: int
    epochs: int
    steps: int
    target_recall: float
    recall: float
    recall_low: float
    recall_high: float
    estimated_s: float | None
    calibrated: bool
    split: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON-ready fields."""
        return dataclasses.asdict(self)


def make_plan(load: Load, base: Base, wish: Wish, *, max_rank: int) -> Plan:
    """Plan the training of a load.

    The smallest rank is taken that reaches the target. Where none does, the largest is, if the target lies within its
    range; else the load is split. A rank that was given is kept, and nothing is split.

    Raises:
        InvalidValue: the base model has no layers that the recipe's target means.
    """
    law, calibrated = law_for(base, wish.recipe)  # phone books stand for prose as well
    recipe = wish.recipe.suited(pairs=load.facts.pairs > 0, prose=load.facts.total > load.facts.pairs)
    wish = dataclasses.replace(wish, recipe=recipe)
    rank, parameters = _choose(load.tokens, base.shape, wish, law, max_rank)
    most = law.most_tokens(_goal(wish), parameters)
    beyond = not wish.rank_given and law.recall_range(load.tokens, parameters)[1] < _goal(wish)
    partitions = math.ceil(load.tokens / most) if beyond else 1
    tokens_each = load.tokens / partitions
    low, high = law.recall_range(tokens_each, parameters)
    return Plan(
        rank=rank,
        alpha=rank * recipe.alpha // recipe.rank,
        rank_given=wish.rank_given,
        target=recipe.target,
        partitions=partitions,
        facts=load.facts.total,
        tokens=load.tokens,
        tokens_estimated=load.tokens_estimated,
        parameters=parameters,
        adapter_mb=round(parameters * base.shape.weight_bytes / 1e6, 3),
        most_tokens=int(most),
        target_recall=wish.target_recall,
        recall=round(law.recall(tokens_each, parameters), 3),
        recall_low=round(low, 3),
        recall_high=round(high, 3),
        calibrated=calibrated,
        split=wish.split,
        **_schedule(load, base, recipe, partitions),
    )


def _choose(tokens: int, shape: BaseShape, wish: Wish, law: Law, max_rank: int) -> tuple[int, int]:
    """Return the smallest rank that reaches the target, else the largest, and its parameters."""
    ranks = [wish.recipe.rank] if wish.rank_given else ranks_up_to(max_rank)
    sizes = [(rank, shape.lora_parameters(rank, wish.recipe)) for rank in ranks]
    return next((one for one in sizes if law.recall(tokens, one[1]) >= _goal(wish)), sizes[-1])


def _schedule(load: Load, base: Base, recipe: Recipe, partitions: int) -> dict[str, Any]:
    """Return the fields of a plan that say how long it trains: each fact is shown once an epoch."""
    batches = recipe.batches(rows_an_epoch(load, recipe) / partitions)
    epochs = max(recipe.epochs, math.ceil(recipe.min_steps / batches))
    trained = epochs * tokens_an_epoch(load, recipe, base.shape.template_tokens)
    return {
        "exposures_per_fact": epochs,
        "epochs": epochs,
        "steps": partitions * batches * epochs,
        "estimated_s": round(trained * recipe.step_cost / base.tokens_per_s, 1) if base.tokens_per_s else None,
    }


def _goal(wish: Wish) -> float:
    return min(max(wish.target_recall, 1 - _SURELY), _SURELY)


def planned_recipe(recipe: Recipe, plan: Plan) -> Recipe:
    """Return the recipe with the plan's rank."""
    return dataclasses.replace(recipe, rank=plan.rank, alpha=plan.alpha)


def ranks_up_to(most: int) -> list[int]:
    """Return the ranks a plan chooses from: the default recipe's, doubled up to what engines take, and that."""
    return list(_doubled(min(Recipe().rank, most), most))


def _doubled(first: int, last: int) -> Iterator[int]:
    rank = first
    while rank < last:
        yield rank
        rank *= 2
    yield last
