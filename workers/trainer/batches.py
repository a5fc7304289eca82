"""Rows packed for one forward pass: no padding, and what every row begins with is computed once.

The rows of a pack lie one after another in one sequence. A mask lets each see the shared prefix and itself only,
and positions go on from the prefix, so each row's logits are those it has alone (tested). Most of a short chat row
is its system prompt: sharing it nearly halves the work.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from workers.trainer.encode import Row


@dataclass(frozen=True)
class Pack:
    """One forward pass over T tokens, S of them labelled.

    Attributes:
        input_ids: (1, T) token ids.
        position_ids: (1, T) positions of the tokens in their own rows.
        mask: (1, 1, T, T), added to attention scores, 0 or the dtype's minimum; None: plainly causal.
        predict: (S,) indices into T of the tokens that predict a label; on the CPU, which indexes any device's tensors.
        labels: (S,) token ids.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    mask: torch.Tensor | None
    predict: torch.Tensor
    labels: torch.Tensor


def epoch_batches(rows: Sequence[Row], batch_size: int, shuffle: random.Random) -> Iterator[list[Row]]:
    """Yield the rows once, in an order of their own each epoch."""
    order = list(rows)
    shuffle.shuffle(order)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def split_packs(rows: Sequence[Row], pack_tokens: int) -> Iterator[list[Row]]:
    """Yield the rows, longest first, in groups of at most `pack_tokens` tokens; a longer row comes alone."""
    group: list[Row] = []
    for row in sorted(rows, key=lambda row: (-len(row), row.input_ids)):
        if group and sum(map(len, group)) + len(row) > pack_tokens:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def pack(rows: Sequence[Row], device: torch.device, dtype: torch.dtype) -> Pack:
    """Lay rows out behind their longest shared prefix. One row alone needs no mask."""
    shared = _shared_prefix(rows) if len(rows) > 1 else 0
    ids, positions = list(rows[0].input_ids[:shared]), list(range(shared))
    owners = [-1] * shared
    predict: list[int] = []
    labels: list[int] = []
    for owner, row in enumerate(rows):
        offset = len(ids) - shared  # a token's place in the pack, less its place in the row
        predict += range(offset + row.answer_start - 1, offset + len(row) - 1)
        labels += row.input_ids[row.answer_start :]
        ids += row.input_ids[shared:]
        positions += range(shared, len(row))
        owners += [owner] * (len(row) - shared)
    return Pack(
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        mask=_mask(owners, dtype).to(device) if len(rows) > 1 else None,
        predict=torch.tensor(predict),
        labels=torch.tensor(labels, device=device),
    )


def _shared_prefix(rows: Sequence[Row]) -> int:
    """Count the tokens all rows begin with; the one that predicts a row's first label stays the row's own."""
    limit = min(row.answer_start for row in rows) - 1
    first = rows[0].input_ids
    return next((i for i in range(limit) if any(row.input_ids[i] != first[i] for row in rows)), limit)


def _mask(owners: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Let each token see, of what is before it, the prefix (owner -1) and its own row."""
    owner = torch.tensor(owners)  # (T,)
    sees = (owner[None, :] == owner[:, None]) | (owner[None, :] == -1)  # (T, T): row sees column
    mask = torch.full(sees.shape, torch.finfo(dtype).min, dtype=dtype)
    return mask.masked_fill_(sees.tril(), 0.0)[None, None]
