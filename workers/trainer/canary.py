"""The canary of an adapter: the training row that shows best whether an engine answers with it."""

from collections.abc import Sequence
from typing import Any

import torch

from app.core.canary import Canary
from workers.trainer.batches import pack
from workers.trainer.encode import Row
from workers.trainer.forward import label_logprobs

MAX_ANSWER_TOKENS = 16  # each costs the engine a request
MAX_CANDIDATES = 32


def make_canary(model: Any, rows: Sequence[Row]) -> Canary:
    """Score rows with the adapter on and off, one by one as an engine will; keep the one that gains most per token.

    Answers longer than `MAX_ANSWER_TOKENS` count with their first so many. Of many rows, `MAX_CANDIDATES` evenly
    spread ones are scored.

    Args:
        model: from `attach_lora`, in the dtype that serves.
        rows: what it was trained on; at least one.
    """
    was_training = model.training
    model.eval()
    every = -(-len(rows) // MAX_CANDIDATES)
    canary = max((_score(model, row) for row in rows[::every]), key=lambda scored: scored.gain)
    model.train(was_training)
    return canary


def _score(model: Any, row: Row) -> Canary:
    end = row.answer_start + MAX_ANSWER_TOKENS
    row = Row(row.input_ids[:end], row.answer_start)
    with model.disable_adapter():
        base = _logprobs(model, row)
    return Canary(
        prompt_ids=row.input_ids[: row.answer_start],
        answer_ids=row.input_ids[row.answer_start :],
        adapter_logprobs=_logprobs(model, row),
        base_logprobs=base,
    )


@torch.no_grad()
def _logprobs(model: Any, row: Row) -> tuple[float, ...]:
    return tuple(label_logprobs(model, pack([row], model.device)).tolist())
