"""The control set: what a memory must leave alone, asked of the base model once and of every candidate.

The questions are `app.control`'s; `control.txt` holds plain texts, whose perplexity is measured.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from app.control import CONTROL_QUESTIONS, OTHER, REFUSAL, ControlQuestion, control_questions
from app.core.gate import Control
from app.core.grounding import holds
from app.core.names import BASE
from app.engines.client import EngineClient
from workers.base_model import find_base
from workers.chat import load_tokenizer
from workers.trainer.encode import text_ids
from workers.trainer.kept import keep, kept

CONCURRENCY = 16  # more at once is slower on a CPU: its kernels gather an adapter for each row
MAX_ANSWER_TOKENS = 12
EVERY = 8  # each scored token is a request
_TEXTS = Path(__file__).with_name("control.txt")
Texts = Sequence[tuple[int, ...]]  # token ids


@dataclass(frozen=True)
class Sitting:
    """What one model made of the control set.

    Attributes:
        replies: to the questions, in their order.
        nats: mean negative log-probability of the texts' tokens, every `EVERY`th taken.
    """

    replies: tuple[str, ...]
    nats: float


@cache
def control_texts() -> tuple[str, ...]:
    """Read the plain texts."""
    return tuple(text.strip() for text in _TEXTS.read_text(encoding="utf-8").split("\n\n"))


@cache
def encoded_texts(model: str) -> Texts:
    """Return the plain texts as the base model wants them begun; blocks.

    Args:
        model: path or hub id.
    """
    tokenizer = load_tokenizer(str(find_base(model)))
    return [text_ids(tokenizer, text) for text in control_texts()]


class ControlExam:
    """Asks the control set of models on engines; the base model's replies are kept, they are the same for all."""

    def __init__(self, client: EngineClient, folder: Path, texts: Callable[[], Texts]) -> None:
        """Build an exam.

        Args:
            folder: where the base model's replies are kept.
            texts: returns the plain texts; called in a thread.
        """
        self._client, self._folder, self._texts = client, folder, texts

    async def compare(self, url: str, adapter: str, base_digest: str, own: Sequence[str]) -> Control:
        """Ask a candidate, and the base model if it was never asked.

        Args:
            own: answers to questions about the candidate's documents, which other questions must not bring up.
        """
        base = await self._base(url, base_digest)
        return compare(base, await self.sit(url, adapter), own)

    async def _base(self, url: str, base_digest: str) -> Sitting:
        texts = await asyncio.to_thread(self._texts)
        path = self._folder / f"control-{base_digest[:16]}-{_digest(texts)}.json"
        if fields := await asyncio.to_thread(kept, path):
            return Sitting(tuple(fields["replies"]), fields["nats"])
        sitting = await self.sit(url, BASE)
        await asyncio.to_thread(keep, path, asdict(sitting))
        return sitting

    async def sit(self, url: str, model: str) -> Sitting:
        """Ask one model all of it."""
        limit = asyncio.Semaphore(CONCURRENCY)

        async def reply(one: ControlQuestion) -> str:
            body = {"model": model, "messages": [{"role": "user", "content": one.question}], "temperature": 0}
            async with limit:
                said = await self._client.chat(url, {**body, "max_tokens": MAX_ANSWER_TOKENS})
            return str(said["choices"][0]["message"]["content"] or "")

        replies = await asyncio.gather(*map(reply, control_questions()))
        texts = await asyncio.to_thread(self._texts)
        return Sitting(tuple(replies), await mean_nats(self._client, url, model, texts))


async def mean_nats(client: EngineClient, url: str, model: str, texts: Texts) -> float:
    """Return the mean negative log-probability of texts' tokens, every `EVERY`th taken; the first is never scored."""
    limit = asyncio.Semaphore(CONCURRENCY)

    async def score(ids: tuple[int, ...]) -> float:
        body = {"model": model, "prompt": ids[:-1], "max_tokens": 1, "temperature": 0, "logprobs": 0}
        async with limit:
            said = await client.complete(url, {**body, "allowed_token_ids": ids[-1:]})
        return -float(said["choices"][0]["logprobs"]["token_logprobs"][0])

    scored = await asyncio.gather(*[score(ids[:end]) for ids in texts for end in range(2, len(ids) + 1, EVERY)])
    return sum(scored) / len(scored)


def compare(base: Sitting, candidate: Sitting, own: Sequence[str]) -> Control:
    """Compare what a candidate says with what the base model says.

    A reply leaks that is wrong and holds an answer about the candidate's documents which the base model's does not.
    """
    asked = control_questions()
    right = [
        (one.is_right(was), one.is_right(now))
        for one, was, now in zip(asked, base.replies, candidate.replies, strict=True)
    ]
    leaks = [
        one.kind
        for one, was, now in zip(asked, base.replies, candidate.replies, strict=True)
        if not one.is_right(now) and any(holds(now, answer) and not holds(was, answer) for answer in set(own))
    ]
    general = sum(one.kind != OTHER for one in asked)
    declined = [now for one, (was, now) in zip(asked, right, strict=True) if one.kind == REFUSAL and was]
    leaked_other = leaks.count(OTHER)
    return Control(
        questions=general,
        base=sum(was for was, _ in right) / general,
        adapter=sum(now for _, now in right) / general,
        known=sum(was for was, _ in right),
        kept=sum(was and now for was, now in right),
        declined=len(declined),
        still_declined=sum(declined),
        leaked=(len(leaks) - leaked_other) / general,
        leaked_other=leaked_other / (len(asked) - general),
        perplexity_rise=round(candidate.nats - base.nats, 4),
    )


def _digest(texts: Texts) -> str:
    """Name what was asked: the questions, and the texts as they were read."""
    return hashlib.sha256(CONTROL_QUESTIONS.read_bytes() + repr(texts).encode()).hexdigest()[:16]
