"""A policy that decodes in this process, where no engine can hold the model: batched, with its own `generate`."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList

from app.core.guard_recipe import GuardRecipe
from workers.languages.points import Ids
from workers.trainer.batches import pack
from workers.trainer.encode import Row
from workers.trainer.forward import label_logits

BATCH = 32


class TorchPolicy:
    """Decodes with a model as it is now."""

    def __init__(self, model: Any, recipe: GuardRecipe, *, ends: Collection[int], batch: int = BATCH) -> None:
        """Build a policy.

        Args:
            ends: token ids that end an answer.
        """
        self._model, self._recipe, self._ends, self._batch = model, recipe, sorted(ends), batch

    async def answers(self, prompts: Sequence[Ids]) -> list[Ids]:
        """See `Policy`."""
        recipe = self._recipe
        draw = LogitsProcessorList([Draw(recipe.temperature)])
        return await self._sorted(prompts, lambda some: self._generate(some, recipe.max_new_tokens, draw))

    async def candidates(self, prefixes: Sequence[Ids]) -> list[Ids]:
        """See `Policy`."""
        return await self._sorted(prefixes, self._next)

    async def greedy(self, prefixes: Sequence[Ids], tokens: int) -> list[Ids]:
        """See `Policy`."""
        if not tokens:
            return [()] * len(prefixes)
        found = await self._sorted(prefixes, lambda some: self._generate(some, tokens))
        return [tuple(one for one in ids if one not in self._ends) for ids in found]

    async def _sorted(self, prefixes: Sequence[Ids], decode: Callable[[Sequence[Ids]], list[Ids]]) -> list[Ids]:
        """Decode in a thread, in batches of prefixes that are about equally long; return all in their order."""
        order = sorted(range(len(prefixes)), key=lambda i: len(prefixes[i]))
        found: dict[int, Ids] = {}
        for some in _runs(order, self._batch):
            decoded = await asyncio.to_thread(decode, [prefixes[i] for i in some])
            found |= zip(some, decoded, strict=True)
        return [found[i] for i in range(len(prefixes))]

    @torch.no_grad()
    def _generate(self, prefixes: Sequence[Ids], tokens: int, choose: LogitsProcessorList | None = None) -> list[Ids]:
        width, pad = max(map(len, prefixes)), self._ends[0]
        ids = torch.tensor([(pad,) * (width - len(prefix)) + prefix for prefix in prefixes])  # (B, T), from the left
        real = torch.tensor([[0] * (width - len(prefix)) + [1] * len(prefix) for prefix in prefixes])
        config = GenerationConfig(max_new_tokens=tokens, do_sample=False, eos_token_id=self._ends, pad_token_id=pad)
        device = self._model.device
        out = self._model.generate(
            input_ids=ids.to(device), attention_mask=real.to(device), generation_config=config, logits_processor=choose
        )
        return [self._until_end(row) for row in out[:, width:].tolist()]

    def _until_end(self, ids: list[int]) -> Ids:
        end = next((place + 1 for place, one in enumerate(ids) if one in self._ends), len(ids))
        return tuple(ids[:end])

    @torch.no_grad()
    def _next(self, prefixes: Sequence[Ids]) -> list[Ids]:
        found = []
        for prefix in prefixes:
            row = pack([Row((*prefix, 0), len(prefix))], self._model.device)
            scores = label_logits(self._model, row)[0][0].float()  # (V,)
            if self._recipe.choose == "sampled":  # without replacement: Gumbel noise and the top
                scores = scores - torch.empty_like(scores).exponential_().log()
            found.append(tuple(scores.topk(self._recipe.candidates).indices.tolist()))
        return found


class Draw:
    """A logits processor that draws the next token, so that a greedy choice takes it.

    By one number per row and the inverse of the cumulative distribution: `generate` draws one per row and token of the
    vocabulary, in one thread on CPUs, which takes more than the model itself where the vocabulary is large.
    """

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores (B, V) whose highest is at a token that is drawn from their softmax."""
        total = (scores.float() / self._temperature).softmax(-1).cumsum(-1)  # (B, V)
        last = total[:, -1:]
        at = torch.minimum(torch.rand_like(last) * last, last.nextafter(torch.zeros_like(last)))  # in [0, last)
        drawn = torch.searchsorted(total, at, right=True)  # the first to reach beyond: none of probability 0
        return scores.scatter_(-1, drawn, torch.inf)  # they are a copy of the logits


def _runs(order: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]
