"""Rows packed for one forward pass: no padding, and what every row begins with is computed once.

The rows of a pack lie one after another in one sequence. A mask lets each see its kind's prefix and itself only, and
positions go on from the prefix, so each row's logits are those it has alone (tested). Most of a short chat row
is its system prompt: sharing it nearly halves the work.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from workers.trainer.encode import Row
from workers.trainer.targets import Target, join


@dataclass(frozen=True)
class Pack:
    """One forward pass over T tokens, S of them labelled.

    Attributes:
        input_ids: (1, T) token ids.
        position_ids: (1, T) positions of the tokens in their own rows.
        segments: (2, T) of each token the segment it is in and the one that segment continues; None: plainly causal.
        predict: (S,) indices into T of the tokens that predict a label; on the CPU, which indexes any device's tensors.
        labels: (S,) token ids.
        taught: (S,) whether a label is the documents', not replayed.
        rows: what was packed, in the order of the labels.
        target: what a teacher says of some of the labels; None where it says nothing.
        below: (1, T, H) what the layers below the first LoRA say; None: they are computed.
        places: of each row, (len(row),) indices into T of its tokens; on the CPU.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    segments: torch.Tensor | None
    predict: torch.Tensor
    labels: torch.Tensor
    taught: torch.Tensor
    rows: tuple[Row, ...]
    target: Target | None = None
    below: torch.Tensor | None = None
    places: tuple[torch.Tensor, ...] = ()

    def by_row(self, of_labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Split what is (S,) of the labels into what is each row's own."""
        own: tuple[torch.Tensor, ...] = of_labels.split([len(row) - row.answer_start for row in self.rows])
        return own


def epoch_batches(rows: Sequence[Row], count: int, shuffle: random.Random) -> Iterator[list[Row]]:
    """Yield the rows once in `count` batches of about one size, in an order of their own each epoch."""
    order = list(rows)
    shuffle.shuffle(order)
    ends = [len(order) * number // count for number in range(count + 1)]
    for start, end in pairwise(ends):
        yield order[start:end]


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


def pack(rows: Sequence[Row], device: torch.device, below: Sequence[torch.Tensor] = ()) -> Pack:
    """Lay rows out, each kind (chats, passages) behind its longest shared prefix. One row alone is plainly causal.

    Args:
        below: (len(row), H) of each row what the layers below the first LoRA say of it.
    """
    draft = _Draft()
    for is_chat in (True, False):
        kind = [row for row in rows if (row.answer_start > 1) == is_chat]
        if kind:
            draft.add(kind)
    return Pack(
        input_ids=torch.tensor([draft.ids], device=device),
        position_ids=torch.tensor([draft.positions], device=device),
        segments=torch.tensor([draft.segments, draft.continues], device=device) if len(rows) > 1 else None,
        predict=torch.tensor(draft.predict),
        labels=torch.tensor(draft.labels, device=device),
        taught=torch.tensor(draft.taught, device=device),
        rows=tuple(draft.rows),
        target=join(draft.targets, draft.targets_at).to(device) if draft.targets else None,
        below=_join(draft, dict(zip(map(id, rows), below, strict=True)), device) if below else None,
        places=tuple(draft.places),
    )


def _join(draft: "_Draft", below: dict[int, torch.Tensor], device: torch.device) -> torch.Tensor:
    """Lay out (1, T, H) of what is (len(row), H) of each row, by the row's identity."""
    states = next(iter(below.values()))
    laid_out = states.new_empty(len(draft.ids), states.shape[1])
    for row, places in zip(draft.rows, draft.places, strict=True):
        laid_out[places] = below[id(row)]
    return laid_out[None].to(device)


class _Draft:
    """A pack being laid out: per token its id, position, segment, and the segment it continues."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.segments: list[int] = []
        self.continues: list[int] = []
        self.predict: list[int] = []
        self.labels: list[int] = []
        self.taught: list[bool] = []
        self.rows: list[Row] = []
        self.targets: list[Target] = []
        self.targets_at: list[torch.Tensor] = []
        self.places: list[torch.Tensor] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Append the rows behind what they all begin with."""
        shared = _shared_prefix(rows)
        first = len(self.ids)
        prefix = -1 - first  # prefixes are named below zero, rows from zero, by where they begin
        self._append(rows[0].input_ids[:shared], 0, segment=prefix, continues=prefix)
        for row in rows:
            offset = len(self.ids) - shared  # a token's place in the pack, less its place in the row
            if row.target is not None:
                self.targets.append(row.target)
                self.targets_at.append(row.target.at - row.answer_start + len(self.labels))
            self.predict += range(offset + row.answer_start - 1, offset + len(row) - 1)
            self.labels += row.input_ids[row.answer_start :]
            self.rows.append(row)
            own = range(len(self.ids), len(self.ids) + len(row) - shared)
            self.places.append(torch.tensor([*range(first, first + shared), *own]))
            self.taught += [not row.replayed] * (len(row) - row.answer_start)
            self._append(row.input_ids[shared:], shared, segment=len(self.ids), continues=prefix)

    def _append(self, ids: Sequence[int], first: int, *, segment: int, continues: int) -> None:
        self.ids += ids
        self.positions += range(first, first + len(ids))
        self.segments += [segment] * len(ids)
        self.continues += [continues] * len(ids)


def _shared_prefix(rows: Sequence[Row]) -> int:
    """Count the tokens all rows begin with; the one that predicts a row's first label stays the row's own."""
    if len(rows) == 1:
        return 0
    limit = min(row.answer_start for row in rows) - 1
    first = rows[0].input_ids
    return next((i for i in range(limit) if any(row.input_ids[i] != first[i] for row in rows)), limit)


def mask(segments: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Let each token see, of what is before it, its own segment and the one that segment continues.

    Args:
        segments: (2, T), of a pack.

    Returns:
        (1, 1, T, T), added to attention scores, 0 or the dtype's minimum.
    """
    own, continues = segments  # (T,) each
    sees = (own[None] == own[:, None]) | (own[None] == continues[:, None])  # (T, T): row sees column
    scores = torch.full(sees.shape, torch.finfo(dtype).min, dtype=dtype, device=segments.device)
    return scores.masked_fill_(sees.tril(), 0.0)[None, None]
