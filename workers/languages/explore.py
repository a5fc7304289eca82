"""Exploring: answers sampled from the current policy, their confusion points, and what else could be said there.

A policy does the decoding, an engine's or this process's own; everything else is the same for both.

Paper: Choo et al. 2026 (TLPO), https://arxiv.org/abs/2604.26553, steps 1-4 of its algorithm
"""

import random
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.core.gate import interval
from app.core.guard_recipe import GuardRecipe
from app.languages.detector import Verdict
from workers.languages.points import Answer, Ids, Judge, Prompt, before_confusion, decode

SAMPLED_AT_ONCE = 64
ENOUGH_TO_TELL = 192  # answers, of whether little is left to mend
_REWARD = {Verdict.TARGET: 1.0, Verdict.NEUTRAL: 0.0, Verdict.OFF: -1.0}


class Policy(Protocol):
    """Decodes with the model as it is now."""

    async def answers(self, prompts: Sequence[Ids]) -> list[Ids]:
        """Sample an answer to each prompt, its end token included."""

    async def candidates(self, prefixes: Sequence[Ids]) -> list[Ids]:
        """Return the next tokens to judge after each prefix, all different."""

    async def greedy(self, prefixes: Sequence[Ids], tokens: int) -> list[Ids]:
        """Return at most so many most probable tokens after each prefix, without an end token."""


@dataclass(frozen=True)
class Group:
    """One confusion point with its judged candidates.

    Attributes:
        prefix: prompt and answer before the point.
        candidates: token ids, all different.
        rewards: of each, +1 valid, -1 confused, 0 neutral.
    """

    prefix: Ids
    candidates: Ids
    rewards: tuple[float, ...]

    @property
    def can_teach(self) -> bool:
        """Say whether a valid and a confused candidate are in it; otherwise there is nothing to prefer."""
        return 1.0 in self.rewards and -1.0 in self.rewards


@dataclass(frozen=True)
class Found:
    """What one exploration found.

    Attributes:
        groups: those that can teach.
        answers, confused, empty: how many answers were sampled, left the language, said nothing.
        skipped: confusion points all of whose candidates are alike.
        tokens: of the answers.
    """

    groups: tuple[Group, ...] = ()
    answers: int = 0
    confused: int = 0
    empty: int = 0
    skipped: int = 0
    tokens: int = 0

    @property
    def rate(self) -> float:
        """The share of the answers that left the language, 0-1."""
        return self.confused / self.answers if self.answers else 0.0

    def can_teach(self, recipe: GuardRecipe) -> bool:
        """Say whether there are points for one step; fewer are learned by heart."""
        return len(self.groups) >= recipe.points_per_step

    def ends_training(self, recipe: GuardRecipe) -> bool:
        """Say whether, after a training, too little is left to mend: see `recipe.stop_rate`."""
        return not self.can_teach(recipe) or self.rate < recipe.stop_rate

    def is_hopeless(self, recipe: GuardRecipe) -> bool:
        """Say whether all answers together will hardly give points for one step: beyond their share's 95 % interval."""
        if not self.answers:
            return False
        _, most = interval(len(self.groups) / self.answers, self.answers)
        return most * recipe.answers < recipe.points_per_step

    def is_enough(self, recipe: GuardRecipe, iteration: int) -> bool:
        """Say whether no more answers are needed: there are points enough, or it shows that few are left.

        Args:
            iteration: from 1; all but the first come after a training.
        """
        little_left = iteration > 1 and self.answers >= ENOUGH_TO_TELL and self.rate < recipe.stop_rate
        enough = len(self.groups) >= max(recipe.points, recipe.points_per_step)
        return little_left or enough or self.is_hopeless(recipe)

    def __add__(self, other: "Found") -> "Found":
        return Found(
            self.groups + other.groups,
            self.answers + other.answers,
            self.confused + other.confused,
            self.empty + other.empty,
            self.skipped + other.skipped,
            self.tokens + other.tokens,
        )


@dataclass(frozen=True)
class Explorer:
    """Finds groups with one policy, in one language.

    Attributes:
        ends: token ids that end an answer.
        at_once: answers between two looks at whether there are points enough.
    """

    policy: Policy
    tokenizer: Any
    judge: Judge
    recipe: GuardRecipe
    ends: Collection[int]
    at_once: int = SAMPLED_AT_ONCE

    async def explore(self, prompts: Sequence[Prompt], iteration: int) -> AsyncIterator[Found]:
        """Yield what was found so far until there are points or answers enough; each prompt is asked about equally."""
        found, order = Found(), _in_turn(prompts, self.recipe, iteration)
        for start in range(0, len(order), self.at_once):
            found += await self._look(order[start : start + self.at_once])
            yield found
            if found.is_enough(self.recipe, iteration):
                return

    async def _look(self, prompts: Sequence[Prompt]) -> Found:
        said = await self.policy.answers([prompt.ids for prompt in prompts])
        answers = [Answer(prompt, ids) for prompt, ids in zip(prompts, said, strict=True)]
        before = [before_confusion(self.tokenizer, answer, self.judge) for answer in answers]
        points = [prefix for prefix in before if prefix is not None]
        groups = await self.judged(points)
        teaching = tuple(group for group in groups if group.can_teach)
        return Found(
            groups=teaching,
            answers=len(answers),
            confused=len(points),
            empty=sum(not decode(self.tokenizer, answer.ids).strip() for answer in answers),
            skipped=len(groups) - len(teaching),
            tokens=sum(map(len, said)),
        )

    async def judged(self, prefixes: Sequence[Ids]) -> list[Group]:
        """Judge what could be said after each prefix: a candidate and the tokens after it alone, never the prefix.

        Nothing comes after an end token: what a model would go on with there is of no answer.
        """
        found = await self.policy.candidates(prefixes)
        said = zip(prefixes, found, strict=True)
        paths = [(*prefix, one) for prefix, ids in said for one in ids if one not in self.ends]
        ahead = iter(await self.policy.greedy(paths, self.recipe.look_ahead))
        groups = []
        for prefix, ids in zip(prefixes, found, strict=True):
            pieces = [() if one in self.ends else (one, *next(ahead)) for one in ids]
            rewards = tuple(_REWARD[self.judge.classify(decode(self.tokenizer, piece))] for piece in pieces)
            groups.append(Group(prefix, ids, rewards))
        return groups


def _in_turn(prompts: Sequence[Prompt], recipe: GuardRecipe, iteration: int) -> list[Prompt]:
    """Return `recipe.answers` prompts: all in an order of their own, then all in another, and so on."""
    shuffle = random.Random(f"{recipe.seed}/{iteration}")
    order: list[Prompt] = []
    while len(order) < recipe.answers:
        order += shuffle.sample(prompts, len(prompts))
    return order[: recipe.answers]
