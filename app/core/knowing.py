"""Does an adapter know the answer to a question? Told by the first token that it would say."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

SURE = 2.0  # nats: below, the first token is all but decided; a model that guesses spreads over dozens
GAIN = 0.5  # nats that the adapter's first token gained over the base model


@dataclass(frozen=True)
class FirstToken:
    """The likeliest first tokens of an answer, by their log-probabilities; the rest of the vocabulary is not there."""

    logprobs: Mapping[str, float]

    @property
    def best(self) -> str:
        """The token that greedy decoding begins with."""
        return max(self.logprobs, key=self.logprobs.__getitem__)

    @property
    def entropy(self) -> float:
        """Of the first token in nats, all that is not there counted as one outcome: a lower bound.

        Paper: 2605.28889, the self-gate
        """
        shares = [math.exp(value) for value in self.logprobs.values()]
        return sum(-share * math.log(share) for share in [*shares, 1 - sum(shares)] if share > 0)

    def logprob(self, token: str) -> float:
        """Return a token's log-probability; of one that is not there the least that is, which bounds it from above."""
        return self.logprobs.get(token, min(self.logprobs.values()))


@dataclass(frozen=True)
class Knowledge:
    """What the first tokens tell, in nats."""

    entropy: float
    gain: float

    @property
    def knows(self) -> bool:
        """The adapter is sure of how to begin, or has learned to begin so."""
        return self.entropy <= SURE or self.gain >= GAIN

    def __str__(self) -> str:
        return f"first token: entropy {self.entropy:.2f}, gain {self.gain:+.2f} nats"


def compare(adapter: FirstToken, base: FirstToken) -> Knowledge:
    """Weigh an adapter's first token against the base model's."""
    return Knowledge(adapter.entropy, adapter.logprob(adapter.best) - base.logprob(adapter.best))
