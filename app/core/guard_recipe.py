"""How a language guard is trained: a frozen, serialisable value, saved beside the weights it made."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from app.core.errors import InvalidValue
from app.core.fields import TARGETS, check_types, check_values

SHIPPED = ("ar", "de", "es", "fr", "hi", "ja", "ko", "ru", "zh")  # languages with prompts of their own
ADVANTAGES = ("tlpo", "centred", "standardised")
CANDIDATES = ("ranked", "sampled")
KL = ("k3", "exact")
MOST_CANDIDATES = 64  # engines are started so that they give the scores of so many


@dataclass(frozen=True)
class GuardRecipe:
    """One way of keeping answers in one language.

    Paper: Choo et al. 2026 (TLPO), https://arxiv.org/abs/2604.26553; how it deviates is said at each field.

    Attributes:
        language: the code of the language to stay in.
        strict: whether Latin letters are a fault where the language has a script of its own.
        candidates: how many next tokens are judged at a confusion point (N).
        look_ahead: how many tokens are decoded greedily after each candidate before it is judged (k).
        choose: "ranked" takes the most probable candidates, "sampled" draws them.
        temperature: of the answers that are sampled to find confusion.
        max_new_tokens: of such an answer.
        beta: weight of the KL distance from the reference.
        kl: "k3" over the candidates as in the paper, or "exact" over the whole vocabulary at the confusion point.
        protect: share of what each layer is given on general English questions and texts that the guard is kept from
            reading (`workers.trainer.null_space`); 0 lets it read everything.
        consolidation: how much is taken off the objective for what the guard is likely to move of what is said of
            these, in nats a token (`workers.trainer.curvature`); 0 leaves it out.
        clip: how far the ratio to the old policy may move before it earns no more (epsilon).
        advantage: "tlpo", or for comparison "centred" (R - mu) or "standardised" ((R - mu) / sigma).
        rank, alpha, target: the LoRA; the paper trains all weights.
        learning_rate: AdamW's peak, reached after `warmup_ratio` of the steps and followed by a cosine; far above
            the paper's 5e-7, which is for full fine-tuning.
        points_per_step: confusion points in one step; training ends where an exploration finds fewer.
        iterations: how often answers are sampled anew from the current policy.
        steps: at most, in one iteration.
        passes: over the points of one iteration, at most; more of them teach a few points by heart.
        answers: how many answers are sampled in one iteration, at most.
        points: how many confusion points are enough for one iteration; never fewer than `points_per_step`.
        stop_mass: stop when the mean probability of confused candidates is below this, 0-1.
        stop_rate: stop when a smaller share of the answers that are sampled after a training is confused, 0-1; a part
            of them is enough to tell (`workers.languages.explore`).
        draws: answers to each held-out prompt at the gate.
        max_clean_rise, max_english_rise: of plain text in the language and in English, in nats per token.
        max_drift: how far length, diversity and the share of finished answers may move, relative to before.
        max_silent_rise: of the shares of answers that are empty, say nothing in the language or are wholly English.
        min_kept: what a guard must keep of the general questions that are answered right without it, and of the share
            of prompts for foreign text that get some, 0-1.
        seed: of initialisation and shuffling; engines sample without one.
    """

    language: str
    strict: bool = False
    candidates: int = 16
    look_ahead: int = 3
    choose: str = "ranked"
    temperature: float = 0.6
    max_new_tokens: int = 100
    beta: float = 0.04
    kl: str = "k3"
    protect: float = 0.9
    consolidation: float = 0.0
    clip: float = 0.2
    advantage: str = "tlpo"
    rank: int = 16
    alpha: int = 32
    target: str = "all-linear"
    learning_rate: float = 5e-5
    weight_decay: float = 0.1
    warmup_ratio: float = 0.1
    max_grad_norm: float = 1.0
    points_per_step: int = 8
    iterations: int = 3
    steps: int = 24
    passes: int = 2
    answers: int = 1152
    points: int = 64
    stop_mass: float = 0.02
    stop_rate: float = 0.05
    draws: int = 4
    max_clean_rise: float = 0.03
    max_english_rise: float = 0.05
    max_drift: float = 0.25
    max_silent_rise: float = 0.05
    min_kept: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        check_values(self, _RANGES, _CHOICES)

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON-ready fields."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Build a recipe from `fields`, with defaults for the others.

        Raises:
            InvalidValue: an unknown field, a wrong type or a value out of range, or no language.
        """
        check_types(cls, fields)
        if "language" not in fields:
            raise InvalidValue("recipe.language is missing: name the language to stay in.")
        return cls(**fields)


_CHOICES = {"target": TARGETS, "advantage": ADVANTAGES, "choose": CANDIDATES, "kl": KL}
_RANGES: dict[str, tuple[float, float]] = {
    "candidates": (2, MOST_CANDIDATES),
    "look_ahead": (0, 64),
    "temperature": (0.05, 2.0),
    "max_new_tokens": (8, 2048),
    "beta": (0.0, 10.0),
    "protect": (0.0, 0.999),
    "consolidation": (0.0, 10_000.0),
    "clip": (0.01, 10.0),
    "rank": (1, 512),
    "alpha": (1, 4096),
    "learning_rate": (1e-8, 1.0),
    "weight_decay": (0.0, 1.0),
    "warmup_ratio": (0.0, 0.9),
    "max_grad_norm": (0.01, 1000.0),
    "points_per_step": (1, 256),
    "iterations": (1, 100),
    "passes": (1, 1000),
    "steps": (1, 10_000),
    "answers": (1, 100_000),
    "points": (1, 100_000),
    "stop_mass": (0.0, 1.0),
    "stop_rate": (0.0, 1.0),
    "draws": (1, 64),
    "max_clean_rise": (-100.0, 100.0),
    "max_english_rise": (-100.0, 100.0),
    "max_drift": (0.0, 100.0),
    "max_silent_rise": (0.0, 1.0),
    "min_kept": (0.0, 1.0),
    "seed": (0, 2**31 - 1),
}
