"""Replay against forgetting: what the base model says of general things, trained beside the documents.

`general.txt` holds questions, `openings.txt` beginnings of plain texts. The base model answers the ones and goes on
with the others, once, and all is kept. It is then its own teacher on them: their probabilities are to stay as they
were, so that showing one of them often teaches nothing new.

Paper: Shin et al. 2017 (generative replay), https://arxiv.org/abs/1705.08690, with the soft targets of Li and Hoiem
2016 (learning without forgetting), https://arxiv.org/abs/1606.09282
"""

import asyncio
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from app.core.grounding import normalise
from workers.trainer.examples import Example
from workers.trainer.kept import keep, kept

CONCURRENCY = 16
MAX_ANSWER_TOKENS, TEXT_TOKENS = 32, 48
_PROMPTS, _OPENINGS = (Path(__file__).with_name(name) for name in ("general.txt", "openings.txt"))


class AskBase(Protocol):
    """Asks the base model for one completion."""

    async def ask_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a chat completion."""

    async def complete_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a text completion."""


async def general_examples(base: AskBase, folder: Path, base_digest: str) -> list[Example]:
    """Return the questions with greedy answers and the texts as sampled, mixed; a cut answer has no end to learn.

    Args:
        folder: where they are kept.
    """
    path = folder / f"replay-{base_digest[:16]}-{await asyncio.to_thread(_digest)}.json"
    rows = await asyncio.to_thread(kept, path)
    if rows is None:
        prompts, openings = await asyncio.gather(
            asyncio.to_thread(_lines, _PROMPTS), asyncio.to_thread(_lines, _OPENINGS)
        )
        limit = asyncio.Semaphore(CONCURRENCY)
        said = [_answer(base, limit, prompt) for prompt in prompts]
        rows = await asyncio.gather(*said, *[_go_on(base, limit, one) for one in openings])
        rows = [row for row in rows if row["answer"].strip()]
        random.Random(0).shuffle(rows)
        await asyncio.to_thread(keep, path, rows)
    return [Example(**row, origin="replay", document="") for row in rows]


def replayed(general: Sequence[Example], taught: Sequence[Example], share: float) -> list[Example]:
    """Return replay examples that take turns so that each epoch holds `share` of them for each one that is taught.

    A question that the documents answer themselves is left out.
    """
    own = {normalise(one.question) for one in taught if one.kind == "chat"}
    general = [one for one in general if one.kind == "text" or normalise(one.question) not in own]
    rows = sum(1 / one.turns for one in taught)
    each_epoch = max(1, min(len(general), round(share * rows)))
    turns = -(-len(general) // each_epoch)
    return [one.in_turn(place % turns, turns) for place, one in enumerate(general)]


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


def _digest() -> str:
    content = b"\n".join([b"%d %d" % (MAX_ANSWER_TOKENS, TEXT_TOKENS), _PROMPTS.read_bytes(), _OPENINGS.read_bytes()])
    return hashlib.sha256(content).hexdigest()[:16]
