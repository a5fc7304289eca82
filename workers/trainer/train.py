"""The training loop: an iterator with no files, no Redis and no logging inside, so the caller can stop, save or renew.

Bf16 throughout without autocast; AdamW steps on float32 copies of the LoRA weights, because bf16 would round late
updates away. The loss is on the answers only, and so are the logits.
"""

import inspect
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from app.core.recipe import Recipe
from app.errors import DivergedError
from workers.trainer.batches import Pack, epoch_batches, pack, split_packs
from workers.trainer.encode import Row

PACK_TOKENS = 1024


@dataclass(frozen=True)
class Step:
    """What one optimizer step did.

    Attributes:
        index: this step, from 1.
        steps: how many there are at most; training may stop early.
        epoch: the pass over the rows, from 1.
        loss: mean over the step's labels before the update, in nats per token; what is replayed counts only where
            nothing else is in the step.
        tokens: of the step's rows, prompts included.
        lr: the learning rate used.
    """

    index: int
    steps: int
    epoch: int
    loss: float
    tokens: int
    lr: float


def train(model: Any, rows: Sequence[Row], recipe: Recipe) -> Iterator[Step]:
    """Train the LoRA of `model` in place from the beginning to the end; see `Loop`."""
    return iter(Loop(model, rows, recipe))


class Loop:
    """A training run that can be left after any step and taken up again, to the same weights.

    What a step does depends on the weights, the optimizer's state, the seed and the step's number alone. Stops after
    an epoch whose mean loss, replay left out, is below `recipe.stop_loss`.

    Paper: Hu et al. 2021 (LoRA), https://arxiv.org/abs/2106.09685
    """

    def __init__(self, model: Any, rows: Sequence[Row], recipe: Recipe) -> None:
        """Plan the steps.

        Args:
            model: from `attach_lora`; only its LoRA weights require grad, and they are trained in place.
        """
        self._model, self._rows, self._recipe = model, rows, recipe
        self._optimizer = MasterAdamW(model, recipe)
        self._pack_tokens = PACK_TOKENS if packs_exactly(model, rows) else 0
        self._epochs = max(recipe.epochs, math.ceil(recipe.min_steps / _batches(rows, 1, recipe)))
        self._steps = sum(_batches(rows, epoch, recipe) for epoch in range(1, self._epochs + 1))
        self._done = 0
        self._loss_sum, self._labels = 0.0, 0  # of the epoch under way, without what is replayed

    def __iter__(self) -> Iterator[Step]:
        """Yield after each step that is still to be done.

        Raises:
            DivergedError: the loss is no longer finite. Retrying with the same recipe will not help.
        """
        index = 0
        for epoch in range(1, self._epochs + 1):
            shuffle = random.Random(f"{self._recipe.seed}/{epoch}")
            for batch in epoch_batches(shown(self._rows, epoch), self._recipe.batch_size, shuffle):
                index += 1
                if index > self._done:
                    yield self._step(batch, index, epoch)
            if index == self._done:
                if self._labels and self._loss_sum / self._labels < self._recipe.stop_loss:
                    return
                self._loss_sum, self._labels = 0.0, 0

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs; its tensors are the loop's own, changed by the next step."""
        return {
            "done": self._done,
            "loss_sum": self._loss_sum,
            "labels": self._labels,
            "optimizer": self._optimizer.state(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, in a loop over the same model, rows and recipe."""
        self._done, self._loss_sum, self._labels = state["done"], state["loss_sum"], state["labels"]
        self._optimizer.resume(state["optimizer"])

    def _scale(self, index: int) -> float:
        return lr_scale(index, self._steps, self._recipe.warmup_ratio, self._recipe.decay_ratio)

    def _step(self, batch: list[Row], index: int, epoch: int) -> Step:
        torch.manual_seed(self._recipe.seed * 1_000_003 + index)  # dropout
        lr = self._recipe.learning_rate * self._scale(index)
        labels = label_count(batch)
        total, of_taught = _accumulate(self._model, split_packs(batch, self._pack_tokens), labels)
        if not math.isfinite(total):
            raise DivergedError(f"Training diverged at step {index}: choose a lower recipe.learning_rate.")
        self._optimizer.step(lr)
        self._done = index
        taught = label_count([row for row in batch if not row.replayed])
        self._loss_sum, self._labels = self._loss_sum + of_taught, self._labels + taught
        loss = of_taught / taught if taught else total / labels
        return Step(index, self._steps, epoch, loss, sum(map(len, batch)), lr)


def shown(rows: Sequence[Row], epoch: int) -> list[Row]:
    """Return the rows of one epoch, counted from 1: those whose turn it is."""
    return [row for row in rows if (epoch - 1) % row.turns == row.turn]


def lr_scale(index: int, steps: int, warmup_ratio: float, decay_ratio: float) -> float:
    """Return the factor, in (0, 1], on the peak learning rate at step `index`, from 1.

    Rises for the first share of the steps, falls in a line for the last, and is 1 between: facts that are still
    mixed up late in a run come apart at the full rate only.

    Paper: Hägele et al. 2024 (constant learning rate with cooldown), https://arxiv.org/abs/2405.18392, section 3
    """
    warmup, decay = round(steps * warmup_ratio), round(steps * decay_ratio)
    rising = index / warmup if index <= warmup else 1.0
    falling = (steps - index + 1) / (decay + 1) if index > steps - decay else 1.0
    return min(rising, falling)


def label_count(rows: Sequence[Row]) -> int:
    """Count the tokens that carry loss."""
    return sum(len(row) - row.answer_start for row in rows)


def label_logprobs(model: Any, batch: Pack) -> torch.Tensor:
    """Return the (S,) log-probabilities, in nats (at most 0), of a pack's labels.

    The model's own forward makes the logits, so scaling and soft caps are applied, at the labels' places only where
    it can do that.
    """
    places: dict[str, Any] = {"attention_mask": batch.mask, "position_ids": batch.position_ids}
    places = {name: value for name, value in places.items() if batch.mask is not None}
    if _accepts(model, "logits_to_keep"):
        logits = model(input_ids=batch.input_ids, use_cache=False, logits_to_keep=batch.predict, **places).logits[0]
    else:
        logits = model(input_ids=batch.input_ids, use_cache=False, **places).logits[0, batch.predict]
    return -functional.cross_entropy(logits.float(), batch.labels.to(logits.device), reduction="none")  # logits (S, V)


def packs_exactly(model: Any, rows: Sequence[Row]) -> bool:
    """Say whether packed rows score as they do alone: false for models that ignore masks or positions.

    Recurrent and ALiBi models do. Rows beyond a sliding window would see too much.
    """
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) or math.inf
    if not _accepts(model, "position_ids") or max(map(len, rows)) > window:
        return False
    if not set(getattr(config, "layer_types", None) or ()) <= {"full_attention", "sliding_attention"}:
        return False
    probe = sorted(rows, key=len)[:2]
    with torch.no_grad():
        packed = label_logprobs(model, pack(probe, model.device, model.dtype))
        alone = torch.cat([label_logprobs(model, pack([row], model.device, model.dtype)) for row in probe])
    return bool((packed - alone).abs().mean() < 0.1)  # bf16 noise is below 0.03


def _batches(rows: Sequence[Row], epoch: int, recipe: Recipe) -> int:
    return math.ceil(len(shown(rows, epoch)) / recipe.batch_size)


class MasterAdamW:
    """AdamW on float32 copies of a model's trainable weights."""

    def __init__(self, model: Any, recipe: Recipe) -> None:
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._masters = [weight.detach().float().clone() for weight in self._weights]
        self._max_norm = recipe.max_grad_norm
        self._adamw = torch.optim.AdamW(self._masters, weight_decay=recipe.weight_decay, fused=True)

    def step(self, lr: float) -> None:
        """Clip, step, write the weights back, and drop the gradients."""
        for weight, master in zip(self._weights, self._masters, strict=True):
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        torch.nn.utils.clip_grad_norm_(self._masters, self._max_norm)
        self._adamw.param_groups[0]["lr"] = lr
        self._adamw.step()
        self._write_back()

    def state(self) -> dict[str, Any]:
        """Return the float32 weights and AdamW's moments."""
        return {"masters": self._masters, "adamw": self._adamw.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        with torch.no_grad():
            for master, saved in zip(self._masters, state["masters"], strict=True):
                master.copy_(saved)
        self._adamw.load_state_dict(state["adamw"])
        self._write_back()

    def _write_back(self) -> None:
        with torch.no_grad():
            for weight, master in zip(self._weights, self._masters, strict=True):
                weight.copy_(master)


def _accumulate(model: Any, groups: Iterator[list[Row]], labels: int) -> tuple[float, float]:
    """Add up the gradients of the mean loss over `labels` tokens.

    Returns:
        The loss summed over all labels, and over those that are not replayed, in nats.
    """
    total = of_taught = 0.0
    for group in groups:
        packed = pack(group, model.device, model.dtype)
        losses = -label_logprobs(model, packed)
        (losses.sum() / labels).backward()
        nats = losses.detach().cpu()
        total, of_taught = total + nats.sum().item(), of_taught + nats[packed.taught].sum().item()
    return total, of_taught


def _accepts(model: Any, argument: str) -> bool:
    return argument in inspect.signature(model.get_base_model().forward).parameters
