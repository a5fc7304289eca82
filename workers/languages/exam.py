"""A guard asked through an engine, beside the model without it: held-out prompts, plain texts, general questions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import regex

from app.core.guard_gate import GuardScores, Side
from app.core.guard_recipe import GuardRecipe
from app.engines.client import EngineClient
from app.languages.benchmark import WORD_LANGUAGES, judge, rates_of
from app.languages.detector import Verdict
from app.languages.metrics import Answer, bootstrap, summarise
from app.languages.policies import Policy, policy_for
from app.languages.words import english_words
from workers.languages.engine_policy import EnginePolicy
from workers.languages.judge import PolicyJudge
from workers.languages.points import Ids, Prompt, decode
from workers.trainer.control import ControlExam, compare, mean_nats

MOST_PROMPTS = 32
_INTRODUCED = regex.compile(r"[\"“”„«»:]")  # a translation stands in quotation marks, or behind a colon


@dataclass(frozen=True)
class Paper:
    """What a guard is asked.

    Attributes:
        held_out: prompts that it was not trained on.
        requested: prompts that rightly ask for foreign text.
        clean, english: plain texts, as token ids.
        ends: token ids that end an answer.
    """

    recipe: GuardRecipe
    tokenizer: Any
    held_out: Sequence[Prompt]
    requested: Sequence[Prompt]
    clean: Sequence[Ids]
    english: Sequence[Ids]
    ends: Collection[int]


@dataclass(frozen=True)
class _Sat:
    """What one model made of a paper; the answers lie by prompt."""

    answers: list[list[Answer]]
    requested: float
    clean: float
    english: float


class GuardExam:
    """Asks papers of models on engines."""

    def __init__(self, client: EngineClient, control: ControlExam) -> None:
        self._client, self._control = client, control

    async def compare(self, url: str, before: str, after: str, paper: Paper) -> GuardScores:
        """Ask the model without the guard and the model with it the same.

        Args:
            before: `base`, or the memory that the guard was trained on top of.
            after: the guard, or the composite of both.
        """
        was, now = await self._sit(url, before, paper), await self._sit(url, after, paper)
        neutral, strict = (policy_for(paper.recipe.language, strict=one) for one in (False, True))
        return GuardScores(
            language=paper.recipe.language,
            is_strict=paper.recipe.strict,
            before=_side(was, neutral, strict),
            after=_side(now, neutral, strict),
            gain=_gain(was, now, strict if paper.recipe.strict else neutral, paper.recipe.seed),
            clean_rise=round(now.clean - was.clean, 4),
            english_rise=round(now.english - was.english, 4),
            requested=len(paper.requested),
            requested_before=was.requested,
            requested_after=now.requested,
            control=compare(await self._control.sit(url, before), await self._control.sit(url, after), []),
        )

    async def _sit(self, url: str, model: str, paper: Paper) -> _Sat:
        policy = EnginePolicy(self._client, url, model, paper.recipe, ends=paper.ends)
        asked = list(paper.held_out)[:MOST_PROMPTS]
        said = await policy.answers([prompt.ids for prompt in asked for _ in range(paper.recipe.draws)])
        answers = [
            Answer(
                decode(paper.tokenizer, ids), asked[place // paper.recipe.draws].text, bool({*ids[-1:]} & {*paper.ends})
            )
            for place, ids in enumerate(said)
        ]
        draws = paper.recipe.draws
        foreign = await policy.greedy([prompt.ids for prompt in paper.requested], paper.recipe.max_new_tokens)
        return _Sat(
            answers=[answers[start : start + draws] for start in range(0, len(answers), draws)],
            requested=_share([is_foreign(decode(paper.tokenizer, ids), paper.recipe.language) for ids in foreign]),
            clean=await mean_nats(self._client, url, model, paper.clean),
            english=await mean_nats(self._client, url, model, paper.english),
        )


def is_foreign(answer: str, language: str) -> bool:
    """Say whether an answer to a prompt for foreign text brings some: a letter, or in shared letters a line of it."""
    nothing_allowed = replace(policy_for(language, strict=True), allowed=frozenset())
    return PolicyJudge(nothing_allowed).classify(_INTRODUCED.sub("\n", answer)) is Verdict.OFF


def _side(sat: _Sat, neutral: Policy, strict: Policy) -> Side:
    answers = [answer for one in sat.answers for answer in one]
    figures = [summarise(answers, policy).to_dict() for policy in (neutral, strict)]
    return Side(*map(_rounded, [*figures, _benchmark([answer.text for answer in answers], neutral.language)]))


def _benchmark(texts: Sequence[str], language: str) -> dict[str, Any]:
    """Score answers as the Language Confusion Benchmark does."""
    english = english_words() if language in WORD_LANGUAGES else frozenset[str]()
    rates = rates_of([judge(text, language, english) for text in texts], language)
    return {**rates.shares, "answers": rates.answers, "scorable": rates.scorable}


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(one, 4) if isinstance(one, float) else one for name, one in figures.items()}


def _gain(was: _Sat, now: _Sat, policy: Policy, seed: int) -> tuple[float, float] | None:
    """Return the interval of the rise of RPR over prompts, both models' answers to a prompt drawn together."""

    def scored(sat: _Sat) -> list[tuple[int, int]]:
        found = [summarise(one, policy) for one in sat.answers]
        return [(round((one.rpr or 0.0) * one.scorable), one.scorable) for one in found]

    def rise(drawn: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> float | None:
        (clean, of), (cleaner, of_after) = (
            [sum(part) for part in zip(*side, strict=True)] for side in zip(*drawn, strict=True)
        )
        return cleaner / of_after - clean / of if of and of_after else None

    found = bootstrap([[pair] for pair in zip(scored(was), scored(now), strict=True)], rise, seed=seed)
    return (round(found[0], 4), round(found[1], 4)) if found else None


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
