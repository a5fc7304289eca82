"""Replay against forgetting: what the base model says of general things, trained beside the documents.

`general.txt` holds questions, `openings.txt` beginnings of plain texts. The base model answers the ones and goes on
with the others, once, and all is kept. It is then its own teacher on them: their probabilities are to stay as they
were, so that showing one of them often teaches nothing new.

Paper: Shin et al. 2017 (generative replay), https://arxiv.org/abs/1705.08690, with the soft targets of Li and Hoiem
2016 (learning without forgetting), https://arxiv.org/abs/1606.09282
"""

import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from app.core.grounding import normalise
from app.core.recipe import Recipe
from workers.trainer.examples import Example
from workers.trainer.generate import OnProgress
from workers.trainer.kept import keep, kept

REPLAY_FOLDER = "replay"  # under the trainer's home
CONCURRENCY = 16
MAX_ANSWER_TOKENS, TEXT_TOKENS = 32, 48
_PROMPTS, _OPENINGS = (Path(__file__).with_name(name) for name in ("general.txt", "openings.txt"))


class AskBase(Protocol):
    """Asks the base model for one completion."""

    async def ask_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a chat completion."""

    async def complete_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a text completion."""


async def general_examples(
    base: AskBase, folder: Path, base_digest: str, most: int | None = None, on_progress: OnProgress | None = None
) -> list[Example]:
    """Return questions with greedy answers and texts as sampled, mixed; a cut answer has no end to learn.

    Args:
        folder: where they are kept, and found by whoever asks next.
        most: how many are asked for; without it all.
        on_progress: told how many of those that nobody has asked for are answered, and how many they are.
    """
    path = folder / f"replay-{base_digest[:16]}-{MAX_ANSWER_TOKENS}-{TEXT_TOKENS}.json"
    known: dict[str, dict[str, Any]] = await asyncio.to_thread(kept, path) or {}
    wanted = (await asyncio.to_thread(general_prompts))[:most]
    limit = asyncio.Semaphore(CONCURRENCY)
    missing = [one for one in wanted if one.text not in known]
    answered = count(1)

    async def ask(one: Prompt) -> dict[str, Any]:
        row = await (_go_on if one.goes_on else _answer)(base, limit, one.text)
        if on_progress:
            await on_progress(next(answered), len(missing))
        return row

    if missing:
        said = await asyncio.gather(*map(ask, missing))
        known |= {one.text: row for one, row in zip(missing, said, strict=True)}
        known |= await asyncio.to_thread(kept, path) or {}  # what another trainer kept meanwhile it trains on
        await asyncio.to_thread(keep, path, known)
    rows = [known[one.text] for one in wanted]
    return [Example(**row, origin="replay", document="") for row in rows if row["answer"].strip()]


def shown_at_most(taught: Sequence[Example], recipe: Recipe) -> int:
    """Return how many different ones a training by a recipe from `suited` can show: so many in each of its passes."""
    rows = sum(1 / one.turns for one in taught)
    return _each_pass(rows, recipe.replay) * max(recipe.epochs, math.ceil(recipe.min_steps / recipe.batches(rows)))


def replayed(general: Sequence[Example], taught: Sequence[Example], share: float) -> list[Example]:
    """Return replay examples that take turns so that each epoch holds `share` of them for each one that is taught.

    A question that the documents answer themselves is left out.
    """
    own = {normalise(one.question) for one in taught if one.kind == "chat"}
    general = [one for one in general if one.kind == "text" or normalise(one.question) not in own]
    if not general:
        return []
    rows = sum(1 / one.turns for one in taught)
    each_epoch = min(len(general), _each_pass(rows, share))
    turns = -(-len(general) // each_epoch)
    return [one.in_turn(place % turns, turns) for place, one in enumerate(general)]


def _each_pass(rows: float, share: float) -> int:
    return max(1, round(share * rows))


@dataclass(frozen=True)
class Prompt:
    """What the base model is asked, or a text that it goes on with."""

    text: str
    goes_on: bool


def general_prompts() -> list[Prompt]:
    """Return the shipped questions and beginnings of texts, mixed, always in the same order."""
    prompts = [Prompt(line, goes_on=False) for line in _lines(_PROMPTS)]
    prompts += [Prompt(line, goes_on=True) for line in _lines(_OPENINGS)]
    random.Random(0).shuffle(prompts)
    return prompts


async def _answer(base: AskBase, limit: asyncio.Semaphore, prompt: str) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": MAX_ANSWER_TOKENS}
    async with limit:
        choice = (await base.ask_base(body))["choices"][0]
    said = choice["message"]["content"] or ""
    return {"kind": "chat", "question": prompt, "answer": said, "ends": choice["finish_reason"] == "stop"}


async def _go_on(base: AskBase, limit: asyncio.Semaphore, opening: str) -> dict[str, Any]:
    body = {"prompt": opening, "temperature": 1, "max_tokens": TEXT_TOKENS}
    async with limit:
        choice = (await base.complete_base(body))["choices"][0]
    return {"kind": "text", "question": "", "answer": opening + choice["text"]}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
