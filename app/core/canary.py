"""The canary's verdict: does an engine really answer with the adapter it says it loaded?

The trainer scores a fixed token sequence with the adapter on and off and stores both in the manifest; an engine
scores the same tokens after every load. Guards against adapters that load, do nothing and answer 200 with the
base model, and against another adapter's weights under this name.
"""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Canary:
    """A fixed sequence and what it must score.

    Attributes:
        prompt_ids: token ids given before the scored part.
        answer_ids: token ids whose log-probabilities are compared.
        adapter_logprobs: the trainer's, in nats, adapter on; one per answer id.
        base_logprobs: the trainer's, in nats, adapter off; one per answer id.
    """

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    adapter_logprobs: tuple[float, ...]
    base_logprobs: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON-ready fields."""
        return {name: list(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read the JSON form back."""
        return cls(
            tuple(map(int, fields["prompt_ids"])),
            tuple(map(int, fields["answer_ids"])),
            tuple(map(float, fields["adapter_logprobs"])),
            tuple(map(float, fields["base_logprobs"])),
        )

    @property
    def gain(self) -> float:
        """Mean log-probability, in nats per token, that the adapter adds to the answer."""
        return _mean(self.adapter_logprobs) - _mean(self.base_logprobs)


@dataclass(frozen=True)
class Verdict:
    """Whether a load may serve; `reason` is a sentence when it may not."""

    passed: bool
    reason: str = ""


MIN_GAP = 0.05
NOISE = 0.2
TOLERANCE = 0.25


def judge(canary: Canary, observed: tuple[float, ...]) -> Verdict:
    """Compare an engine's log-probabilities of the answer with the trainer's, token by token.

    With `gap` the mean distance of the trainer's scores with the adapter on and off, passes when the engine's mean
    distance from the adapter's scores is at most `TOLERANCE * gap`, or `NOISE` (two bf16 kernels were measured up to
    0.12 nats per token apart), and below its distance from the base's scores.

    Args:
        observed: the engine's log-probabilities in nats, one per answer id, adapter requested.
    """
    if len(observed) != len(canary.answer_ids):
        return Verdict(False, "the engine scored another number of tokens than the canary has")
    gap = _distance(canary.adapter_logprobs, canary.base_logprobs)
    if gap < MIN_GAP:
        return Verdict(False, "the adapter hardly differs from the base model, so a no-op could not be told from it")
    off = _distance(observed, canary.adapter_logprobs)
    if off <= max(NOISE, TOLERANCE * gap) and off < _distance(observed, canary.base_logprobs):
        return Verdict(True)
    return Verdict(False, f"the engine's scores are {off:.3f} nats per token off the trainer's (gap {gap:.3f})")


def _distance(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    return _mean(tuple(abs(one - other) for one, other in zip(left, right, strict=True)))


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values) if values else 0.0
