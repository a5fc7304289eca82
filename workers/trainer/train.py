"""The training loop: an iterator with no files, no Redis and no logging inside, so the caller can stop, save or renew.

Bf16 throughout without autocast; AdamW steps on float32 copies of the LoRA weights, because bf16 would round late
updates away. Logits are made where the loss is only: on the answers, by default.
"""

import math
import operator
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import accumulate
from typing import Any

import torch

from app.core.recipe import Recipe
from app.errors import DivergedError
from workers.trainer.backward import Backward, backward_of
from workers.trainer.batches import Pack, epoch_batches, pack, split_packs
from workers.trainer.below import below_of
from workers.trainer.encode import Row
from workers.trainer.forward import answer_logprobs, packs_exactly
from workers.trainer.held_out import HeldOut
from workers.trainer.optimizer import MasterAdamW
from workers.trainer.restraint import Restraint
from workers.trainer.rests import Rests

PACK_TOKENS = 1024
COOLEST = 0.1


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


class Loop:
    """A training run that can be left after any step and taken up again, to the same weights.

    What a step does depends on the weights, the optimizer's state, what was last seen of each row, which rest, the seed
    and the step's number alone. Stops after an epoch at whose end all that is taught is learned: its mean loss is below
    `recipe.stop_loss` and every token above one half, or every token is above `recipe.rest_above` or
    `recipe.focus_below`; or after which held-out answers have not got better for `recipe.patience` epochs; then, and at
    the end, the weights are those that knew the held-out answers best.

    Paper: Hu et al. 2021 (LoRA), https://arxiv.org/abs/2106.09685
    """

    def __init__(
        self,
        model: Any,
        rows: Sequence[Row],
        recipe: Recipe,
        held_out: Sequence[Row] = (),
        restraint: Restraint | None = None,
    ) -> None:
        """Plan the steps.

        Args:
            model: from `attach_lora`; only its LoRA weights require grad, and they are trained in place.
            held_out: questions that are not trained, for `recipe.patience`.
            restraint: what keeps the base model's general answers.
        """
        if recipe.loss_on == "all":
            rows = [replace(row, answer_start=1, asking=row.answer_start - 1) for row in rows]
        self._model, self._rows, self._recipe = model, rows, recipe
        self._optimizer = MasterAdamW(
            model,
            weight_decay=recipe.weight_decay,
            max_norm=recipe.max_grad_norm,
            lr_ratio=recipe.lr_ratio,
            restraint=restraint,
        )
        self._pack_tokens = PACK_TOKENS if packs_exactly(model, [*rows, *held_out]) else 0
        self._backward = backward_of(model, recipe, packs=self._pack_tokens > 0)
        self._below = None if recipe.hidden_weight else below_of(model, rows, self._pack_tokens)
        self._epochs = max(recipe.epochs, math.ceil(recipe.min_steps / _batches(rows, 1, recipe)))
        planned = [_batches(rows, epoch, recipe) for epoch in range(1, self._epochs + 1)]
        self._ends = [0, *accumulate(planned)]  # where each epoch ends if no row ever rests
        self._rests = Rests(rows, recipe, self._epochs)
        self._done, self._at = 0, (1, 0)  # steps; the epoch under way and its batches that are done
        self._held_out = HeldOut(held_out, recipe.patience) if held_out and recipe.patience else None

    def __iter__(self) -> Iterator[Step]:
        """Yield after each step that is still to be done.

        Raises:
            DivergedError: the loss is no longer finite. Retrying with the same recipe will not help.
        """
        for epoch in range(self._at[0], self._epochs + 1):
            yield from self._pass(epoch)
            if self._ends_with_epoch():
                break
            self._at = epoch + 1, 0
        if self._held_out:
            self._optimizer.put(self._held_out.weights)

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs; its tensors are the loop's own, changed by the next step."""
        return {
            "done": self._done,
            "at": self._at,
            "rests": self._rests.state(),
            "optimizer": self._optimizer.state(),
            "held_out": self._held_out.state() if self._held_out else None,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, in a loop over the same model, rows and recipe."""
        self._done, self._at = state["done"], tuple(state["at"])
        self._rests.resume(state["rests"])
        self._optimizer.resume(state["optimizer"])
        if self._held_out:
            self._held_out.resume(state["held_out"])

    def _pass(self, epoch: int) -> Iterator[Step]:
        rows = self._rests.shown(shown(self._rows, epoch))
        if not rows:  # all whose turn it is rest
            return
        count = self._recipe.batches(len(rows))
        planned = self._ends[epoch] - self._ends[epoch - 1]
        batches = epoch_batches(rows, count, random.Random(f"{self._recipe.seed}/{epoch}"))
        for number, batch in enumerate(batches, start=1):
            if number > self._at[1]:
                yield self._step(batch, epoch, number, self._ends[epoch - 1] + number * planned / count)

    def _ends_with_epoch(self) -> bool:
        waited = self._held_out and self._held_out.measure(self._model, self._optimizer.masters, self._pack_tokens)
        is_learned = self._rests.are_learned() and self._still_learned()
        self._rests.end_pass()
        return is_learned or bool(waited)

    def _still_learned(self) -> bool:
        """Look at all that is or will be taught with the weights as they are: the last steps may have harmed some."""
        taught = [row for row in self._rows if not row.replayed and row.turn < self._epochs]
        rows, answers = zip(*answer_logprobs(self._model, taught, self._pack_tokens), strict=True)
        self._rests.note(rows, -torch.cat(answers))
        return self._rests.are_learned()

    def _step(self, batch: list[Row], epoch: int, number: int, place: float) -> Step:
        """Do one step, the `number`th of its epoch.

        The learning rate is that of its place among all planned ones, less what is known by now.
        """
        recipe, index = self._recipe, self._done + 1
        torch.manual_seed(recipe.seed * 1_000_003 + index)  # dropout
        lr = recipe.learning_rate * lr_scale(place, self._ends[-1], recipe.warmup_ratio, recipe.decay_ratio)
        lr *= cooling(self._rests.mean_loss(), recipe.cool_below)
        packs = (self._pack(group) for group in split_packs(batch, self._pack_tokens))
        sums = _accumulate(self._backward, packs, label_count(batch), self._rests)
        if not math.isfinite(sums.nats):
            raise DivergedError(f"Training diverged at step {index}: choose a lower recipe.learning_rate.")
        if sums.learned:
            self._optimizer.step(lr, scale=sums.labels / sums.learned)
        self._done, self._at = index, (epoch, number)
        return Step(index, self._ends[-1], epoch, sums.mean, sum(map(len, batch)), lr)

    def _pack(self, rows: Sequence[Row]) -> Pack:
        return pack(rows, self._model.device, self._below.of(rows) if self._below else ())


@dataclass(frozen=True)
class _Sums:
    """Of some labels: how many they are, and their loss in nats; how many have a gradient; the same of what is taught.

    What is taught is what is not replayed.
    """

    labels: int = 0
    nats: float = 0.0
    learned: int = 0
    taught: int = 0
    taught_nats: float = 0.0

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(*map(operator.add, astuple(self), astuple(other)))

    @property
    def mean(self) -> float:
        """The mean loss of what is taught; of the rest only where nothing is."""
        return self.taught_nats / self.taught if self.taught else self.nats / self.labels


def shown(rows: Sequence[Row], epoch: int) -> list[Row]:
    """Return the rows of one epoch, counted from 1: those whose turn it is."""
    return [row for row in rows if (epoch - 1) % row.turns == row.turn]


def lr_scale(index: float, steps: int, warmup_ratio: float, decay_ratio: float) -> float:
    """Return the factor, in (0, 1], on the peak learning rate at step `index`, from 1, or between two.

    Rises for the first share of the steps, falls in a line for the last, and is 1 between: facts that are still
    mixed up late in a run come apart at the full rate only.

    Paper: Hägele et al. 2024 (constant learning rate with cooldown), https://arxiv.org/abs/2405.18392, section 3
    """
    warmup, decay = round(steps * warmup_ratio), round(steps * decay_ratio)
    rising = index / warmup if index <= warmup else 1.0
    falling = (steps - index + 1) / (decay + 1) if index > steps - decay else 1.0
    return min(rising, falling)


def cooling(mean_loss: float, below: float) -> float:
    """Return the factor, in [0.1, 1], on the learning rate when so much is left to learn, in nats per token.

    Facts come apart at a high rate only, and are lost again at it.
    """
    return min(1.0, max(COOLEST, mean_loss / below)) if below else 1.0


def label_count(rows: Sequence[Row]) -> int:
    """Count the tokens that carry loss."""
    return sum(len(row) - row.answer_start for row in rows)


def _batches(rows: Sequence[Row], epoch: int, recipe: Recipe) -> int:
    return recipe.batches(len(shown(rows, epoch)))


def _accumulate(backward: Backward, packs: Iterable[Pack], labels: int, rests: Rests) -> _Sums:
    """Add up the gradients of the loss of `labels` tokens, over their number; note who is known."""
    sums = _Sums()
    for packed in packs:
        scored = backward(packed, labels)
        nats, taught = scored.nats.cpu(), packed.taught.cpu()
        rests.note(packed.rows, nats)
        sums += _Sums(
            labels=len(nats),
            nats=nats.sum().item(),
            learned=int(scored.learned.sum()),
            taught=int(taught.sum()),
            taught_nats=nats[taught].sum().item(),
        )
    return sums
