"""How much a LoRA holds: parameters from the base model's shape, and recall from a law of the load.

The law: recall falls along a logistic curve of ln(tokens), whose knee grows with the adapter's parameters to a power of
at most 1, since rank has diminishing returns.

    recall = 1 / (1 + (tokens / knee) ** slope)        knee = knee_tokens * (parameters / reference) ** power

It is fitted on the base model by `lorekeep calibrate`, for one way of training. Before that `PRIOR` stands in, a wide
guess: near perfect below 0.1 tokens a parameter, collapse above 1.

Paper: Back et al. 2026 (LoRA as knowledge memory), https://arxiv.org/abs/2603.01097, questions 1-3: tokens a
parameter as the measure, and a knee that rank moves less and less. The logistic curve and the power are ours. The
paper's models collapse between 1e-3 and 1e-2; by the default recipe here an adapter of 190,080 parameters recalled
1,532 of 1,536 facts, 0.19 tokens a parameter (docs/experiments.md), so the guess is a hundred times the paper's.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Self

from app.core.errors import InvalidValue
from app.core.recipe import THRESHOLDS, Recipe

_PROSE_FIELDS = {
    "prose_epochs", "prose_layers_from", "prose_learning_rate", "prose_replay", "prose_protect",
    "prose_consolidation",
    "passage_tokens", "passage_overlap_tokens", "questions_per_passage", "keyword_questions", "answers",
    "distillation", "hidden_weight", "patience", "gap_rounds", "pair_wordings",
    "summaries_per_passage", "rewrites_per_passage", "implications_per_passage", "relations_per_passage",
    "self_study_per_passage",
}  # fmt: skip
# what a law holds for whatever their values
_ASIDE = {"name", "rank", "alpha", "seed", "replay", "replay_weight"} | _PROSE_FIELDS | THRESHOLDS
_SIGMAS = 2.0  # a range's half width


@dataclass(frozen=True)
class LinearLayers:
    """The linear layers of one place in a decoder's numbered layers.

    Attributes:
        path: the place, such as `mlp.down_proj`.
        kind: "mlp" or "attention".
        layers: the numbers of the layers that have one of this size there.
    """

    path: str
    kind: str
    inputs: int
    outputs: int
    layers: tuple[int, ...]


@dataclass(frozen=True)
class BaseShape:
    """A base model as far as a plan must know it.

    Attributes:
        digest: of its configuration and weights.
        weight_bytes: of one weight of an adapter.
        template_tokens: what its chat template puts around a question and its answer.
    """

    digest: str
    name: str
    layers: tuple[LinearLayers, ...]
    weight_bytes: int
    template_tokens: int

    def lora_parameters(self, rank: int, recipe: Recipe) -> int:
        """Count the weights of a LoRA of a rank: so many for each input and each output of every layer that carries it.

        Raises:
            InvalidValue: the base model has no layers that `recipe.target` means, or none where the recipe has them.
        """
        target = recipe.target
        carrying = set(recipe.layers(1 + max((max(one.layers) for one in self.layers), default=0)))
        wanted = [one for one in self.layers if target in {"all-linear", one.kind} and carrying & set(one.layers)]
        if not wanted:
            raise InvalidValue(f"The base model has no {target} layers that can carry a LoRA: choose another target.")
        return sum(len(carrying & set(one.layers)) * rank * (one.inputs + one.outputs) for one in wanted)

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON-ready fields."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read the JSON form back."""
        layers = tuple(LinearLayers(**{**one, "layers": tuple(one["layers"])}) for one in fields["layers"])
        return cls(**{**fields, "layers": layers})


@dataclass(frozen=True)
class Law:
    """Recall as a function of the load; see the module.

    Attributes:
        knee_tokens: where recall is one half, in an adapter of `reference` parameters.
        spread: standard deviation of a measured point around the law, in ln(tokens).
        power_spread: standard deviation of `power`; what the law says far from `reference` is less sure.
        base: digest of the base model it was fitted on; empty for none.
        conditions: what of the recipe it holds for.
        points: how many measurements it was fitted on.
        fitted_at: seconds since the epoch.
    """

    knee_tokens: float
    reference: float
    power: float
    slope: float
    spread: float
    power_spread: float
    base: str = ""
    conditions: dict[str, Any] = field(default_factory=dict)
    points: int = 0
    fitted_at: float = 0.0

    def recall(self, tokens: float, parameters: int, *, shift: float = 0.0) -> float:
        """Return the share of facts, 0-1, that so many parameters recall of a load; `shift` is added to ln(tokens)."""
        if tokens <= 0:
            return 1.0
        return 1 / (1 + math.exp(min(700.0, self.slope * (math.log(tokens / self.knee(parameters)) + shift))))

    def recall_range(self, tokens: float, parameters: int) -> tuple[float, float]:
        """Return the lowest and the highest recall to expect."""
        distance = self.power_spread * math.log(parameters / self.reference)
        shift = _SIGMAS * math.hypot(self.spread, distance)
        return self.recall(tokens, parameters, shift=shift), self.recall(tokens, parameters, shift=-shift)

    def most_tokens(self, recall: float, parameters: int) -> float:
        """Return the load at which recall falls to `recall`, which lies between 0 and 1."""
        return self.knee(parameters) * math.pow(1 / recall - 1, 1 / self.slope)

    def knee(self, parameters: int) -> float:
        """Return the load, in tokens, at which recall is one half."""
        return self.knee_tokens * math.pow(parameters / self.reference, self.power)


PRIOR = Law(  # recall 0.95 at 0.1 tokens a parameter and 0.05 at 1
    knee_tokens=10**6.5,
    reference=1e7,
    power=1.0,
    slope=2 * math.log(19) / math.log(10),
    spread=math.log(10) / (2 * _SIGMAS),
    power_spread=0.15,
)


@dataclass(frozen=True)
class Point:
    """One measurement: so many facts written by an adapter of one rank, and how many of them it recalls."""

    rank: int
    parameters: int
    facts: int
    tokens: int
    recalled: int

    @property
    def recall(self) -> float:
        """The share of the facts that is recalled."""
        return self.recalled / self.facts


@dataclass(frozen=True)
class Base:
    """What is known of the base model that trainers train on.

    Attributes:
        law: fitted on it; None before its first calibration.
        tokens_per_s: what the last training would have had with a LoRA in every layer; None before the first one.
    """

    shape: BaseShape
    law: Law | None = None
    tokens_per_s: float | None = None


def conditions_of(recipe: Recipe) -> dict[str, Any]:
    """Return what of a recipe a law holds for: how it trains, not what or how large."""
    fields = {name: value for name, value in recipe.to_dict().items() if name not in _ASIDE}
    return {**fields, "scale": recipe.alpha / recipe.rank}


def law_for(base: Base, recipe: Recipe) -> tuple[Law, bool]:
    """Return the law to plan with, and whether it was fitted for just this; elsewhere it is less sure."""
    law = base.law
    if law is None:
        return PRIOR, False
    if (law.base, law.conditions) == (base.shape.digest, conditions_of(recipe)):
        return law, True
    return dataclasses.replace(law, spread=max(law.spread, PRIOR.spread)), False
