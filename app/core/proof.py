"""What proves a composite: no trainer has scored it, so an engine compares it with the base model by itself.

A composite that broke says so in three ways: it does not differ from the base model, it takes a member's own answers
for less likely than the base model does, or it no longer writes plain text. All in nats per token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from app.core.canary import MIN_GAP, Verdict

MEMBER_NATS = 0.5  # two kernels differ by up to 0.2; a broken composite by several
TEXT_NATS = 0.5  # 1.65 times the perplexity that the worst member has


@dataclass(frozen=True)
class Scores:
    """One token sequence's log-probabilities by the base model and by the composite, in nats."""

    base: tuple[float, ...]
    composite: tuple[float, ...]

    @classmethod
    def joined(cls, parts: Sequence["Scores"]) -> Self:
        """Return several sequences' scores as one's."""
        return cls(
            tuple(value for part in parts for value in part.base),
            tuple(value for part in parts for value in part.composite),
        )

    @property
    def loss(self) -> float:
        """How much less likely the composite takes the tokens for, in nats per token; below 0 where it gains."""
        return sum(base - own for base, own in zip(self.base, self.composite, strict=True)) / len(self.base)

    @property
    def distance(self) -> float:
        """Mean distance of the two, token by token."""
        return sum(abs(base - own) for base, own in zip(self.base, self.composite, strict=True)) / len(self.base)


@dataclass(frozen=True)
class Proof:
    """What an engine measured.

    Attributes:
        members: each member's own answers, in the order of the composition.
        text: plain text that belongs to no member.
        text_rise: what the worst member loses there by itself, by its gate, in nats per token.
    """

    members: Sequence[Scores]
    text: Scores
    text_rise: float = 0.0

    @property
    def text_limit(self) -> float:
        """What may be lost in plain text: a composite is no better than its members, but not much worse."""
        return TEXT_NATS + max(0.0, self.text_rise)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures that a manifest keeps and a refusal says: nats per token lost against the base model."""
        return {"members": [round(one.loss, 3) for one in self.members], "text": round(self.text.loss, 3)}


def judge_composite(proof: Proof) -> Verdict:
    """Say whether the composite may serve; comparisons are written so that a NaN fails."""
    losses = [one.loss for one in proof.members]
    if not max(one.distance for one in proof.members) >= MIN_GAP:
        return Verdict(False, "it hardly differs from the base model")
    if not all(loss <= MEMBER_NATS for loss in losses):
        worst = max(losses)
        return Verdict(
            False, f"a member's own answers are {worst:.2f} nats per token below the base model (limit {MEMBER_NATS})"
        )
    if not proof.text.loss <= proof.text_limit:
        lost, most = proof.text.loss, proof.text_limit
        return Verdict(False, f"plain text is {lost:.2f} nats per token below the base model (limit {most:.2f})")
    return Verdict(True)
