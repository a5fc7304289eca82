"""The trainer's loop without its tricks, to read and to hold the fast one to: one row at a time, no mask, no packing.

The model's own `labels` make the loss, autograd the gradient, `torch.optim.AdamW` the step. For next-token loss only.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from workers.trainer.encode import Row


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
