"""Weights that suit the members: a coordinate search on what an engine measures, nothing but the factors changing.

After LoRA Soups (Prabhakar et al. 2024, section 3, https://arxiv.org/abs/2410.13025), which learn a weight for each
member of a concatenation by gradient. No engine has gradients, so each weight is tried smaller and larger in turn.
"""

from collections.abc import Awaitable, Callable, Sequence

from app.core.composition import Composition

TRIED = (0.7, 1.4)


async def learn(composition: Composition, gain: Callable[[Composition], Awaitable[float]]) -> tuple[float, ...]:
    """Return the weights with the largest gain of those tried, beginning with the method's own; 2 trials a member.

    Args:
        gain: mean log-probability that a composite adds to its members' answers, in nats per token; -inf if it broke.
    """
    best = _with(composition, None)
    most = await gain(best)
    for place in range(len(composition.members)):
        own = list(_given(best))
        for factor in TRIED:
            trial = _with(composition, [*own[:place], own[place] * factor, *own[place + 1 :]])
            gained = await gain(trial)
            if gained > most:
                best, most = trial, gained
    return _given(best)


def _with(composition: Composition, weights: Sequence[float] | None) -> Composition:
    density, max_rank = composition.density, composition.max_rank
    return Composition.of(composition.method, composition.members, weights=weights, density=density, max_rank=max_rank)


def _given(composition: Composition) -> tuple[float, ...]:
    assert not isinstance(composition.weights, str), "a trial's weights are numbers"
    return composition.weights
