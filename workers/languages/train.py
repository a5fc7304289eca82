"""The guard's training loop: an iterator with no engine, no files and no logging inside.

One forward for each prefix gives the whole vocabulary at its confusion point, so all its candidates at once. Nothing
is trained at any other position.

Paper: Choo et al. 2026 (TLPO), https://arxiv.org/abs/2604.26553, steps 5-6. Deviation: the old policy's probabilities
and the advantages are stored at the beginning of each pass over the points instead of taken from the same forward.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from app.core.guard_recipe import GuardRecipe
from app.errors import DivergedError
from workers.languages.explore import Group
from workers.languages.model import without_guard
from workers.languages.objective import Terms, advantages, exact_kl, k3, masses, terms
from workers.trainer.batches import pack
from workers.trainer.encode import Row
from workers.trainer.forward import label_logits, packs_exactly
from workers.trainer.optimizer import MasterAdamW
from workers.trainer.restraint import Restraint
from workers.trainer.train import PACK_TOKENS

BETAS = (0.9, 0.95)
LEAST_LR = 0.1  # of the peak, where the cosine ends


@dataclass(frozen=True)
class GuardStep:
    """What one optimizer step did; all of it measured before the update.

    Attributes:
        index: this step, from 1, over all iterations.
        steps: how many there are at most.
        iteration, epoch: the exploration, and the pass over its points, from 1.
        objective: to be maximised.
        kl: nats, mean over the points.
        clipped: share of the candidates whose gain is cut off, 0-1.
        valid, confused: mean probability of the candidates that are right and that are confused, 0-1.
        points: how many confusion points.
        tokens: of their prefixes.
        lr: the learning rate used.
    """

    index: int
    steps: int
    iteration: int
    epoch: int
    objective: float
    kl: float
    clipped: float
    valid: float
    confused: float
    points: int
    tokens: int
    lr: float


class GuardLoop:
    """A run over several iterations that can be left after any step and taken up again, to the same weights."""

    def __init__(self, model: Any, recipe: GuardRecipe, restraint: Restraint | None = None) -> None:
        """Plan the steps.

        Args:
            model: from `attach_guard`; only the guard's weights require grad, and they are trained in place.
            restraint: what keeps what is said in other languages.
        """
        self._model, self._recipe = model, recipe
        self._optimizer = MasterAdamW(
            model, weight_decay=recipe.weight_decay, max_norm=recipe.max_grad_norm, betas=BETAS, restraint=restraint
        )
        self._steps = recipe.iterations * recipe.steps
        self._done = 0  # over all iterations
        self._within = 0  # of the iteration under way
        self._old: list[_Stored] = []  # of the epoch under way
        self._pack_tokens = 0

    def learn(self, groups: Sequence[Group], iteration: int) -> Iterator[GuardStep]:
        """Train on what one exploration found, yielding after each step that is still to be done.

        Ends before `recipe.steps` after `recipe.passes`, or after a pass that finds the confused candidates' mean
        probability below `recipe.stop_mass`. Of a loop taken up again, the first call must be for the iteration it was
        left in.

        Args:
            groups: all of them can teach.
            iteration: from 1.

        Raises:
            DivergedError: the objective is no longer finite. Retrying with the same recipe will not help.
        """
        batches = math.ceil(len(groups) / self._recipe.points_per_step)
        if batches:
            self._pack_tokens = PACK_TOKENS if packs_exactly(self._model, [_row(group) for group in groups]) else 0
        most = min(self._recipe.steps, self._recipe.passes * batches)
        while self._within < most:
            epoch, place = divmod(self._within, batches)
            order = self._order(groups, iteration, epoch)
            if not self._old:
                self._old = [self._store(batch) for batch in order]
            if not place and _confused(self._old) < self._recipe.stop_mass:
                break
            step = self._step(order[place], self._old[place], iteration, epoch + 1)
            if place == batches - 1:
                self._old = []
            yield step
        self._within, self._old = 0, []

    def state(self) -> dict[str, Any]:
        """Return what `resume` needs; its tensors are the loop's own, changed by the next step."""
        return {
            "done": self._done,
            "within": self._within,
            "old": [vars(stored) for stored in self._old],
            "optimizer": self._optimizer.state(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, in a loop over the same model, groups and recipe."""
        self._done, self._within = state["done"], state["within"]
        self._old = [_Stored(**fields) for fields in state["old"]]
        self._optimizer.resume(state["optimizer"])

    def _order(self, groups: Sequence[Group], iteration: int, epoch: int) -> list[list[Group]]:
        order = list(groups)
        random.Random(f"{self._recipe.seed}/{iteration}/{epoch}").shuffle(order)
        size = self._recipe.points_per_step
        return [order[start : start + size] for start in range(0, len(order), size)]

    @torch.no_grad()
    def _store(self, batch: Sequence[Group]) -> "_Stored":
        candidates, rewards = _laid_out(batch)
        old = torch.cat([_pick(one, candidates[at]) for at, one in self._logprobs(batch)])
        with without_guard(self._model):
            reference = torch.cat([_pick(one, candidates[at]) for at, one in self._logprobs(batch)])
        return _Stored(candidates, rewards, old, reference)

    def _step(self, batch: Sequence[Group], stored: "_Stored", iteration: int, epoch: int) -> GuardStep:
        advantage = advantages(stored.old.exp(), stored.rewards, self._recipe.advantage)
        sums = torch.zeros(5)
        for at, logprobs in self._logprobs(batch):
            found = _pick(logprobs, stored.candidates[at])  # (g, N)
            kl = k3(found, stored.reference[at]) if self._recipe.kl == "k3" else self._exact(batch[at], logprobs)
            part = terms(found, stored.old[at], advantage[at], kl, clip=self._recipe.clip, beta=self._recipe.beta)
            share = len(kl) / len(batch)
            (-share * part.objective).backward()
            sums += share * _figures(part, found, stored.rewards[at])
        objective, kl_nats, clipped, valid, confused = sums.tolist()
        if not math.isfinite(objective):
            raise DivergedError(f"Training diverged at step {self._done + 1}: choose a lower recipe.learning_rate.")
        lr = self._recipe.learning_rate * lr_scale(self._done + 1, self._steps, self._recipe.warmup_ratio)
        self._optimizer.step(lr)
        self._done, self._within = self._done + 1, self._within + 1
        return GuardStep(
            index=self._done,
            steps=self._steps,
            iteration=iteration,
            epoch=epoch,
            objective=objective,
            kl=kl_nats,
            clipped=clipped,
            valid=valid,
            confused=confused,
            points=len(batch),
            tokens=sum(len(group.prefix) for group in batch),
            lr=lr,
        )

    @torch.no_grad()
    def _exact_reference(self, batch: Sequence[Group]) -> torch.Tensor:
        with without_guard(self._model):
            return torch.cat([logprobs for _, logprobs in self._logprobs(batch)])

    def _exact(self, batch: Sequence[Group], logprobs: torch.Tensor) -> torch.Tensor:
        return exact_kl(logprobs, self._exact_reference(batch)).cpu()

    def _logprobs(self, batch: Sequence[Group]) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield (g, V) log-probabilities at the confusion points of some groups after others, and which they are."""
        rows = [_row(group) for group in batch]
        for at in _packs(rows, self._pack_tokens):
            logits, _ = label_logits(self._model, pack(rows[at], self._model.device))
            yield at, logits.float().log_softmax(-1)


@dataclass(frozen=True)
class _Stored:
    """Of one batch of G points with N candidates each, (G, N) all: what a pass over the points begins with.

    Attributes:
        candidates: token ids.
        rewards: +1, -1, 0.
        old, reference: log-probabilities under the policy then and under the reference.
    """

    candidates: torch.Tensor
    rewards: torch.Tensor
    old: torch.Tensor
    reference: torch.Tensor


def lr_scale(index: int, steps: int, warmup_ratio: float) -> float:
    """Return the factor, in (0, 1], on the peak learning rate at step `index`, from 1: a rise, then a cosine."""
    warmup = round(steps * warmup_ratio)
    if index <= warmup:
        return index / warmup
    share = (index - warmup - 1) / max(1, steps - warmup)
    return LEAST_LR + (1 - LEAST_LR) * (1 + math.cos(math.pi * share)) / 2


def _row(group: Group) -> Row:
    """Return a row whose only label is at the confusion point."""
    return Row((*group.prefix, group.candidates[0]), len(group.prefix))


def _pick(logprobs: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Take the (g, N) candidates' log-probabilities out of those of all tokens; on the CPU always."""
    return logprobs.gather(1, candidates.to(logprobs.device)).cpu()


def _laid_out(batch: Sequence[Group]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (G, N) candidates and rewards; a group with fewer is filled up with neutral ones."""
    most = max(len(group.candidates) for group in batch)
    missing = [most - len(group.candidates) for group in batch]
    candidates = [group.candidates + group.candidates[:1] * n for group, n in zip(batch, missing, strict=True)]
    rewards = [group.rewards + (0.0,) * n for group, n in zip(batch, missing, strict=True)]
    return torch.tensor(candidates), torch.tensor(rewards)


def _figures(part: Terms, found: torch.Tensor, rewards: torch.Tensor) -> torch.Tensor:
    valid, confused = masses(found.detach().exp(), rewards)
    return torch.stack([part.objective.detach(), part.kl, part.clipped, valid.mean(), confused.mean()])


def _confused(old: Sequence[_Stored]) -> float:
    """Return the mean probability of confused candidates over all points."""
    found = torch.cat([masses(stored.old.exp(), stored.rewards)[1] for stored in old])
    return float(found.mean())


def _packs(rows: Sequence[Row], pack_tokens: int) -> Iterator[slice]:
    """Yield the rows in their order, in runs of at most `pack_tokens` tokens; a longer row comes alone."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or sum(map(len, rows[start : end + 1])) > pack_tokens:
            yield slice(start, end)
            start = end
