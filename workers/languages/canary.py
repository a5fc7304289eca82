"""The canary of a guard: the candidate that it has made likelier by most, after the prefix where it did."""

from collections.abc import Sequence
from typing import Any

import torch

from app.core.canary import Canary
from workers.languages.explore import Group
from workers.languages.model import MEMORY, without, without_guard
from workers.trainer.batches import pack
from workers.trainer.encode import Row
from workers.trainer.exam import spread
from workers.trainer.forward import label_logits

MOST_GROUPS = 32
LEAST_LOGPROB = -7.0  # of what is compared: far below, two kernels differ more than the guard moves


def guard_canary(model: Any, groups: Sequence[Group]) -> Canary:
    """Score candidates with the guard on and off, without the memory it was trained on top of: as engines load it.

    One that became less likely would not do: composites must take each member's canary for likelier than the base does.

    Args:
        model: from `attach_guard`, in the dtype that serves.
        groups: what it was trained on; at least one. Of many, `MOST_GROUPS` evenly spread ones are scored.
    """
    with without(model, MEMORY):
        return max((one for group in spread(groups, MOST_GROUPS) for one in _scored(model, group)), key=_gained)


@torch.no_grad()
def _scored(model: Any, group: Group) -> list[Canary]:
    on = _logprobs(model, group)
    with without_guard(model):
        off = _logprobs(model, group)
    return [
        Canary(group.prefix, (one,), (with_it,), (without_it,))
        for one, with_it, without_it in zip(group.candidates, on, off, strict=True)
    ]


def _logprobs(model: Any, group: Group) -> list[float]:
    row = Row((*group.prefix, group.candidates[0]), len(group.prefix))
    logits, _ = label_logits(model, pack([row], model.device))
    found: list[float] = logits[0].float().log_softmax(-1)[list(group.candidates)].tolist()
    return found


def _gained(canary: Canary) -> float:
    likely = min(*canary.adapter_logprobs, *canary.base_logprobs) > LEAST_LOGPROB
    return canary.gain if likely else 0.0
