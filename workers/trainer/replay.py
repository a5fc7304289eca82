"""Replay against forgetting: general prompts with the base model's own answers, trained beside the documents.

`general.txt` holds the prompts. The answers are the base model's, asked once and kept, so what is replayed is what it
would have said: an adapter that still says it has not forgotten it.

Paper: Shin et al. 2017 (generative replay), https://arxiv.org/abs/1705.08690
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from app.core.grounding import normalise
from workers.trainer.examples import Example
from workers.trainer.kept import keep, kept

CONCURRENCY = 16
MAX_ANSWER_TOKENS = 32
_PROMPTS = Path(__file__).with_name("general.txt")

AskBase = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


async def base_answers(ask_base: AskBase, folder: Path, base_digest: str) -> list[Example]:
    """Return the prompts with the base model's greedy answers; an answer that was cut has no end to learn.

    Args:
        ask_base: one chat completion of the base model.
        folder: where the answers are kept.
    """
    text = await asyncio.to_thread(_PROMPTS.read_text, encoding="utf-8")
    version = hashlib.sha256(f"{MAX_ANSWER_TOKENS}\n{text}".encode()).hexdigest()
    path = folder / f"replay-{base_digest[:16]}-{version[:16]}.json"
    rows = await asyncio.to_thread(kept, path)
    if rows is None:
        rows = await _ask(ask_base, text.splitlines())
        await asyncio.to_thread(keep, path, rows)
    return [Example("chat", row["prompt"], row["answer"], "replay", "", ends=row["ends"]) for row in rows]


def replayed(answers: Sequence[Example], taught: Sequence[Example], share: float) -> list[Example]:
    """Return replay examples that take turns so that each epoch holds `share` of them for each one that is taught.

    A prompt that the documents answer themselves is left out.
    """
    own = {normalise(one.question) for one in taught}
    answers = [one for one in answers if normalise(one.question) not in own]
    rows = sum(1 / one.turns for one in taught)
    each_epoch = max(1, min(len(answers), round(share * rows)))
    turns = -(-len(answers) // each_epoch)
    return [one.in_turn(place % turns, turns) for place, one in enumerate(answers)]


async def _ask(ask_base: AskBase, prompts: Sequence[str]) -> list[dict[str, Any]]:
    limit = asyncio.Semaphore(CONCURRENCY)

    async def ask(prompt: str) -> dict[str, Any]:
        body = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": MAX_ANSWER_TOKENS}
        async with limit:
            choice = (await ask_base(body))["choices"][0]
        return {
            "prompt": prompt,
            "answer": choice["message"]["content"] or "",
            "ends": choice["finish_reason"] == "stop",
        }

    answered = await asyncio.gather(*map(ask, prompts))
    return [row for row in answered if row["answer"].strip()]
