"""What is computed over a vocabulary of hundreds of thousands of tokens, a few labels at a time.

PyTorch's cross entropy and its derivative pass a dozen times over (S, V) float32 values, which no cache holds. Here a
few labels at a time go through all that is to be done with them, and only the logits are kept for the way back.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

CACHED = 2**19  # float32 values that a CPU's core has close to it


class Outcomes(NamedTuple):
    """What a teacher says of M of S labels.

    Attributes:
        at: (M,) which; none twice unless its losses count for nothing.
        ids: (M, K) its likeliest tokens there.
        logprobs: (M, K + 1) their log-probabilities in nats, and that of all others together.
    """

    at: torch.Tensor
    ids: torch.Tensor
    logprobs: torch.Tensor


def label_nats(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the (S,) negative log-probabilities, in nats, of (S,) labels by (S, V) logits, with gradients."""
    nothing = Outcomes(labels[:0], labels[:0, None], logits.new_zeros((0, 2), dtype=torch.float32))
    return label_nats_and_divergences(logits, labels, nothing)[0]


def label_nats_and_divergences(
    logits: torch.Tensor, labels: torch.Tensor, teacher: Outcomes
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the labels' (S,) negative log-probabilities and the (M,) divergences from a teacher, in nats.

    These are Kullback-Leibler divergences over the teacher's K likeliest tokens and one more outcome for all others,
    so that both sum to 1.

    Paper: Eyuboglu et al. 2025 (Cartridges), https://arxiv.org/abs/2506.06266, with its top 20 tokens;
    the outcome for all others is ours.
    """
    found: tuple[torch.Tensor, torch.Tensor] = _Scores.apply(logits, labels, teacher)  # type: ignore[no-untyped-call]
    return found


def buckets(logits: torch.Tensor, at: torch.Tensor, ids: torch.Tensor, partition: torch.Tensor) -> torch.Tensor:
    """Return the (M, K + 1) log-probabilities of the tokens `ids` (M, K) and of all others, at M of S labels.

    Args:
        partition: (S,) `log_partition(logits)`.
    """
    others = torch.empty(len(at), device=logits.device)  # not 1 minus the rest: that cancels
    for few in _few(logits, len(at)):
        others[few] = logits[at[few]].float().scatter_(-1, ids[few], -torch.inf).logsumexp(-1)
    return torch.cat([logits[at[:, None], ids].float(), others[:, None]], -1) - partition[at, None]


def log_partition(logits: torch.Tensor) -> torch.Tensor:
    """Return the (S,) logarithms of the sums of (S, V) logits' exponentials, in float32."""
    sums = torch.empty(len(logits), device=logits.device)
    for few in _few(logits, len(logits)):
        sums[few] = logits[few].float().logsumexp(-1)
    return sums


def drawn_derivatives(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return, like (S, V) logits, the derivatives by them of the log-probabilities of tokens drawn by these.

    Of each label's the mean over all draws is 0, and the second moment Fisher's information.
    """
    found = torch.empty_like(logits)
    for few in _few(logits, len(logits)):
        p = logits[few].float().softmax(-1)
        drawn = torch.rand(len(p), 1, generator=generator).to(p.device)
        token = torch.searchsorted(p.cumsum(-1), drawn).clamp(max=p.shape[-1] - 1)
        found[few] = p.neg_().scatter_add_(-1, token, torch.ones_like(drawn)).to(found.dtype)
    return found


class _Scores(torch.autograd.Function):
    """See `label_nats_and_divergences`.

    With p the student's probabilities, t the teacher's and r = t(others) / p(others), the derivatives by the logits are

        of a negative log-probability: p - 1 at the label, p elsewhere
        of a divergence: p - t at the teacher's likeliest tokens, (1 - r) p elsewhere
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, labels: torch.Tensor, teacher: Outcomes
    ) -> tuple[torch.Tensor, torch.Tensor]:
        partition = log_partition(logits)
        nats = partition - logits.gather(-1, labels[:, None])[:, 0].float()
        said = buckets(logits, teacher.at, teacher.ids, partition)
        ctx.save_for_backward(logits, labels, *teacher, partition, nats, said)
        return nats, (teacher.logprobs.exp() * (teacher.logprobs - said)).sum(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        by_nats, by_divergence = gradients  # (S,), (M,)
        logits, labels, at, ids, logprobs, partition, nats, said = ctx.saved_tensors
        ratio = (logprobs[:, -1] - said[:, -1]).clamp(max=80).exp()  # finite: times nothing it is nothing
        each = by_nats.index_add(0, at, by_divergence * (1 - ratio))  # (S,), times p
        found = torch.empty_like(logits)
        for few in _few(logits, len(logits)):
            p = logits[few].float().sub(partition[few, None]).exp_()
            found[few] = p.mul_(each[few, None])
        at_label = each * (-nats).exp() - by_nats
        found.scatter_(-1, labels[:, None], at_label[:, None].to(found.dtype))
        own, apart = by_nats[at, None], by_divergence[:, None]  # (M, 1)
        likeliest = (own + apart) * said[:, :-1].exp() - apart * logprobs[:, :-1].exp()
        likeliest -= own * (ids == labels[at, None])
        found[at[:, None], ids] = likeliest.to(found.dtype)
        return found, None, None


def _few(logits: torch.Tensor, rows: int) -> Iterator[slice]:
    """Yield slices of so many rows of V logits: what a CPU's cache holds; on a card all at once."""
    size = max(1, CACHED // logits.shape[-1] if logits.device.type == "cpu" else rows)
    return (slice(start, start + size) for start in range(0, rows, size))
