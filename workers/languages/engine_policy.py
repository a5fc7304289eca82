"""A policy that decodes on an engine, in token ids both ways: what is sampled is never tokenised again.

No request has a seed or asks for scores of its prompt: both kill a CPU engine.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from app.core.guard_recipe import GuardRecipe
from app.engines.client import EngineClient
from app.errors import EngineFailed
from workers.languages.points import Ids

CONCURRENCY = 32
_PLAIN = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}  # not what the model's own files say
_TOKEN = "token_id:"


class EnginePolicy:
    """Decodes with one model of one engine."""

    def __init__(
        self, client: EngineClient, url: str, model: str, recipe: GuardRecipe, *, ends: Collection[int]
    ) -> None:
        """Build a policy.

        Args:
            model: `base`, or an adapter that the engine holds.
            ends: token ids that end an answer.
        """
        self._client, self._url, self._model, self._recipe = client, url, model, recipe
        self._ends = frozenset(ends)
        self._limit = asyncio.Semaphore(CONCURRENCY)

    async def answers(self, prompts: Sequence[Ids]) -> list[Ids]:
        """See `Policy`."""
        how = {"temperature": self._recipe.temperature, "max_tokens": self._recipe.max_new_tokens}
        return await asyncio.gather(*[self._answer(prompt, how) for prompt in prompts])

    async def candidates(self, prefixes: Sequence[Ids]) -> list[Ids]:
        """See `Policy`."""
        one = self._ranked if self._recipe.choose == "ranked" else self._sampled
        return await asyncio.gather(*map(one, prefixes))

    async def greedy(self, prefixes: Sequence[Ids], tokens: int) -> list[Ids]:
        """See `Policy`; as many in one request as a point has candidates."""
        if not tokens:
            return [()] * len(prefixes)
        size = self._recipe.candidates
        some = [prefixes[start : start + size] for start in range(0, len(prefixes), size)]
        found = await asyncio.gather(*[self._go_on(ones, tokens) for ones in some])
        return [ids for ones in found for ids in ones]

    async def _answer(self, prompt: Ids, how: dict[str, Any]) -> Ids:
        [choice] = await self._complete({"prompt": prompt, **how})
        return _ids(choice)

    async def _ranked(self, prefix: Ids) -> Ids:
        body = {"prompt": prefix, "max_tokens": 1, "temperature": 0, "logprobs": self._recipe.candidates}
        [choice] = await self._complete({**body, "return_tokens_as_token_ids": True})
        try:
            scores: dict[str, float] = choice["logprobs"]["top_logprobs"][0]
            best = sorted(scores, key=lambda token: -scores[token])[: self._recipe.candidates]
            return tuple(int(token.removeprefix(_TOKEN)) for token in best)
        except (LookupError, TypeError, ValueError) as error:
            raise EngineFailed("The engine's reply holds no scores of candidates.") from error

    async def _sampled(self, prefix: Ids) -> Ids:
        choices = await self._complete(
            {"prompt": prefix, "max_tokens": 1, "temperature": 1.0, "n": self._recipe.candidates}
        )
        return tuple(dict.fromkeys(_ids(choice)[0] for choice in choices))

    async def _go_on(self, prefixes: Sequence[Ids], tokens: int) -> list[Ids]:
        choices = await self._complete({"prompt": prefixes, "max_tokens": tokens, "temperature": 0})
        return [tuple(one for one in _ids(choice) if one not in self._ends) for choice in choices]

    async def _complete(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        sent = {"model": self._model, **_PLAIN, "return_token_ids": True, **body}
        async with self._limit:
            reply = await self._client.complete(self._url, sent)
        return sorted(reply["choices"], key=lambda choice: choice["index"])


def _ids(choice: dict[str, Any]) -> Ids:
    try:
        return tuple(map(int, choice["token_ids"]))
    except (LookupError, TypeError) as error:
        raise EngineFailed("The engine's reply holds no token ids: it needs vLLM 0.32.0 or newer.") from error
