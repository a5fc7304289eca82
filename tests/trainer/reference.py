"""The trainer's loop without its tricks, to read and to hold the fast one to: one row at a time, no mask, no packing.

The model's own `labels` make the loss, autograd the gradient, `torch.optim.AdamW` the step. For next-token loss only;
a teacher's beside it, of logits.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional

from workers.trainer.encode import Row
from workers.trainer.targets import Target


def labels_of(row: Row, loss_on: str = "answer") -> torch.Tensor:
    """Return a row's (1, T) labels as transformers reads them: -100 where there is no loss."""
    labels = torch.tensor([row.input_ids])
    labels[0, : row.answer_start if loss_on == "answer" else 1] = -100
    return labels


def batch_loss(model: Any, rows: Sequence[Row], loss_on: str = "answer") -> torch.Tensor:
    """Return the mean over a batch's labels, in nats per token."""
    total, count = torch.zeros(()), 0
    for row in rows:
        labels = labels_of(row, loss_on)
        here = int((labels != -100).sum())
        total = total + here * model(input_ids=torch.tensor([row.input_ids]), labels=labels).loss
        count += here
    return total / count


def train(model: Any, batches: Sequence[Sequence[Row]], lrs: Sequence[float], max_norm: float) -> Iterator[float]:
    """Train the weights that require grad, a step a batch; yield each step's loss before its update."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.0)
    for batch, lr in zip(batches, lrs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        loss = batch_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, max_norm)
        optimizer.step()
        yield loss.item()


def label_nats(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the (S,) negative log-probabilities of labels by (S, V) logits."""
    return functional.cross_entropy(logits.float(), labels, reduction="none")


def divergence(logits: torch.Tensor, target: Target) -> torch.Tensor:
    """Return the (M,) divergences, in nats, of a student's (M, V) logits from a teacher's K + 1 outcomes."""
    logits = logits.float()
    others = logits.scatter(-1, target.ids, -torch.inf).logsumexp(-1, keepdim=True)
    said = torch.cat([logits.gather(-1, target.ids), others], -1) - logits.logsumexp(-1, keepdim=True)
    return (target.logprobs.exp() * (target.logprobs - said)).sum(-1)
