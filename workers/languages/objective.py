"""The objective of TLPO at confusion points, as functions on tensors: no model, no text.

G confusion points (groups), N candidates each, V tokens. Probabilities are a softmax at temperature 1 over all V.

Paper: Choo et al. 2026 (TLPO), https://arxiv.org/abs/2604.26553, section 3. Deviations: a neutral candidate has
R = mu, so that ending early or writing a digit earns nothing; old log-probabilities are stored when a pass over the
points begins, so that clipping can bind; a group whose rewards are all equal is left out instead of being trained by
its KL term alone; k3's exponent is clamped.
"""

from dataclasses import dataclass

import torch

MOST_K3 = 2.5  # candidates are ranked, not sampled: one pushed towards 0 would make exp(d) explode


@dataclass(frozen=True)
class Terms:
    """What one step's objective is made of.

    Attributes:
        objective: scalar, to be maximised: the mean over groups and candidates, KL included.
        kl: scalar, nats; the mean over groups.
        clipped: scalar, 0-1; the share of judged candidates whose gain is cut off.
    """

    objective: torch.Tensor
    kl: torch.Tensor
    clipped: torch.Tensor


def masses(old: torch.Tensor, rewards: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the probability, (G,) each, of the candidates that are valid and of those that are confused.

    Args:
        old: (G, N) probabilities.
        rewards: (G, N), +1 valid, -1 confused, 0 neutral.
    """
    return (old * (rewards > 0)).sum(1), (old * (rewards < 0)).sum(1)


def can_teach(rewards: torch.Tensor) -> torch.Tensor:
    """Say of each group, (G,), whether it holds both a valid and a confused candidate."""
    return (rewards > 0).any(1) & (rewards < 0).any(1)


def advantages(old: torch.Tensor, rewards: torch.Tensor, kind: str = "tlpo") -> torch.Tensor:
    """Return the (G, N) advantages; 0 for neutral candidates and in groups that cannot teach.

    With "tlpo" a group's sum to 0 and their absolute values to 1: +p / (2 P+) and -p / (2 P-) in the masses P.

    Args:
        old: (G, N) probabilities of the candidates under the old policy.
        rewards: (G, N), +1 valid, -1 confused, 0 neutral.
        kind: one of `GuardRecipe.advantage`.
    """
    judged = rewards.abs()  # (G, N), 1 where a candidate is judged
    share = old * judged / (old * judged).sum(1, keepdim=True).clamp_min(torch.finfo(old.dtype).tiny)  # sums to 1
    centred = (rewards - (share * rewards).sum(1, keepdim=True)) * judged  # R - mu
    if kind == "tlpo":
        raw = share * centred
        scale = raw.abs().sum(1, keepdim=True)
    elif kind == "standardised":
        raw, scale = centred, (share * centred.square()).sum(1, keepdim=True).sqrt()
    else:
        raw, scale = centred, torch.ones_like(centred[:, :1])
    found = raw / scale.clamp_min(torch.finfo(old.dtype).tiny)
    return torch.where(can_teach(rewards)[:, None], found, torch.zeros_like(found))


def terms(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantage: torch.Tensor,
    kl: torch.Tensor,
    *,
    clip: float,
    beta: float,
) -> Terms:
    """Return the clipped objective less the KL.

    Args:
        logprobs: (G, N) of the candidates under the policy, with its gradient, in nats.
        old_logprobs: (G, N) under the old policy, stored.
        advantage: (G, N), from `advantages`.
        kl: (G,) nats, from `k3` or `exact_kl`.
        clip: epsilon of the ratio's range.
    """
    ratio = (logprobs - old_logprobs).exp()  # (G, N), 1 where the policy has not moved
    whole, cut = ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage
    judged = advantage != 0
    clipped = ((cut < whole) & judged).sum() / judged.sum().clamp_min(1)
    objective = (torch.minimum(whole, cut).mean(1) - beta * kl).mean()
    return Terms(objective, kl.detach().mean(), clipped)


def k3(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Estimate KL(policy, reference) of each group, (G,) nats, as the mean over its candidates: never below 0.

    Args:
        logprobs, reference: (G, N) nats.

    Paper: Schulman 2020, Approximating KL divergence, http://joschu.net/blog/kl-approx.html
    """
    d = (reference - logprobs).clamp(max=MOST_K3)
    return (d.exp() - d - 1).mean(1)


def exact_kl(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return KL(policy, reference) of each group over the whole vocabulary, (G,) nats.

    Args:
        logprobs, reference: (G, V) nats.
    """
    return (logprobs.exp() * (logprobs - reference)).sum(1)
