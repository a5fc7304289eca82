"""The layers below the first that carries a LoRA: what they say of a row is computed once.

Nothing below changes while the LoRA is trained, so a step takes up where these layers end, and its gradient ends there
as well.

Paper: Liu et al. 2021 (AutoFreeze), https://arxiv.org/abs/2102.01386, section 3.4, which keeps the outputs of layers
that are frozen in the course of a training.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch

from workers.trainer.batches import pack, split_packs
from workers.trainer.encode import Row
from workers.trainer.forward import label_logprobs, states_below
from workers.trainer.model import layers_below

MOST_BYTES = 2**31  # of all rows' states; of more rows they are computed in each step
_NOISE = 0.01  # nats


class Below:
    """What the layers below say of rows, computed when it is first asked for.

    That is done in groups that depend on nothing but the rows there are, so a training that is taken up again goes on
    with the same states to the last bit.
    """

    def __init__(self, model: Any, rows: Sequence[Row], pack_tokens: int) -> None:
        """Build one; see `below_of`."""
        self._model, self.groups = model, list(_groups(rows, pack_tokens))
        self._group = {row.input_ids: group for group in self.groups for row in group}
        self._known: dict[tuple[int, ...], torch.Tensor] = {}

    def of(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        """Return the (len(row), H) states of each row, on the CPU."""
        for row in rows:
            if row.input_ids not in self._known:
                self._compute(self._group[row.input_ids])
        return [self._known[row.input_ids] for row in rows]

    def _compute(self, group: Sequence[Row]) -> None:
        packed = pack(group, self._model.device)
        states = states_below(self._model, packed)[0].cpu()  # (T, H)
        for row, places in zip(packed.rows, packed.places, strict=True):
            self._known[row.input_ids] = states[places]


def below_of(model: Any, rows: Sequence[Row], pack_tokens: int) -> Below | None:
    """Return what keeps rows' states; None where no layers are below, the rows are too many, or it is not the same.

    Args:
        model: from `attach_lora`.
        pack_tokens: how many tokens are computed at once; 0: every row alone.
    """
    if not layers_below(model) or _size(model, rows) > MOST_BYTES:
        return None
    below = Below(model, rows, pack_tokens)
    return below if _is_exact(model, min(below.groups, key=len), below) else None


def _size(model: Any, rows: Sequence[Row]) -> int:
    size: int = sum(map(len, rows)) * model.config.get_text_config().hidden_size * model.dtype.itemsize
    return size


def _groups(rows: Sequence[Row], pack_tokens: int) -> Iterator[list[Row]]:
    """Yield every different row once in packs of those that are shown in the same passes first."""
    first: dict[tuple[int, ...], Row] = {}
    for row in sorted(rows, key=_turn):
        first.setdefault(row.input_ids, row)
    for _, together in groupby(first.values(), _turn):
        yield from split_packs(list(together), pack_tokens)


def _turn(row: Row) -> tuple[int, int]:
    return row.turns, row.turn


@torch.no_grad()
def _is_exact(model: Any, rows: Sequence[Row], below: Below) -> bool:
    """Say whether the layers above need nothing else of those below: they do where they share keys and values, say."""
    whole = label_logprobs(model, pack(rows, model.device))
    try:
        taken_up = label_logprobs(model, pack(rows, model.device, below.of(rows)))
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):  # a model's own code
        return False
    return bool((taken_up - whole).abs().max() < _NOISE)
