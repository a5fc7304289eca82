"""The canary of an adapter: the training row that shows best whether an engine answers with it."""

from collections.abc import Sequence
from typing import Any

from app.core.canary import Canary
from workers.trainer.encode import Row
from workers.trainer.exam import spread
from workers.trainer.forward import answer_logprobs, packs_exactly
from workers.trainer.train import PACK_TOKENS

MAX_ANSWER_TOKENS = 16  # each costs the engine a request
MAX_CANDIDATES = 32


def make_canary(model: Any, rows: Sequence[Row]) -> Canary:
    """Score rows with the adapter on and off and keep the one that gains most per token.

    They are compared many at once; the one that is kept is scored by itself, as an engine will. Answers longer than
    `MAX_ANSWER_TOKENS` count with their first so many. Of many rows, `MAX_CANDIDATES` evenly spread ones are scored.

    Args:
        model: from `attach_lora`, in the dtype that serves.
        rows: what it was trained on; at least one.
    """
    some = spread(rows, MAX_CANDIDATES)
    compared = [Row(row.input_ids[: row.answer_start + MAX_ANSWER_TOKENS], row.answer_start) for row in some]
    together = PACK_TOKENS if packs_exactly(model, compared) else 0
    best = max(_score(model, compared, together), key=lambda scored: scored.gain)
    return _score(model, [Row(best.prompt_ids + best.answer_ids, len(best.prompt_ids))], 0)[0]


def _score(model: Any, rows: Sequence[Row], pack_tokens: int) -> list[Canary]:
    with model.disable_adapter():
        base = answer_logprobs(model, rows, pack_tokens)
    return [
        Canary(
            prompt_ids=row.input_ids[: row.answer_start],
            answer_ids=row.input_ids[row.answer_start :],
            adapter_logprobs=tuple(adapter.tolist()),
            base_logprobs=tuple(alone.tolist()),
        )
        for (row, alone), (_, adapter) in zip(base, answer_logprobs(model, rows, pack_tokens), strict=True)
    ]
