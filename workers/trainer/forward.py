"""The model's own forward on packs of rows: what it says at the labels' places, and whether packing is right for it."""

import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch

from workers.trainer.batches import Pack, mask, pack, split_packs
from workers.trainer.encode import Row
from workers.trainer.model import layers_below
from workers.trainer.vocabulary import label_nats


def label_logits(model: Any, batch: Pack, *, hidden: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the (S, V) logits that predict a pack's labels and, if asked for, the (S, L, H) hidden states there.

    The model's own forward makes the logits, so scaling and soft caps are applied, at the labels' places only where
    it can do that. The hidden states are those after each of the L numbered layers, and are not to be had of a pack
    that says what the layers below the first LoRA do.
    """
    wanted = _seen(model, batch)
    if hidden:
        wanted["output_hidden_states"] = True
    keeps = _accepts(model, "logits_to_keep")
    if keeps:
        wanted["logits_to_keep"] = batch.predict
    with _taken_up(model, batch.below):
        out = model(input_ids=batch.input_ids, use_cache=False, **wanted)
    states = torch.stack([one[0, batch.predict] for one in out.hidden_states[1:]], dim=1) if hidden else None
    return out.logits[0] if keeps else out.logits[0, batch.predict], states


class _EnoughError(Exception):
    """What was wanted of a forward is there."""


@torch.no_grad()
def states_below(model: Any, batch: Pack) -> torch.Tensor:
    """Return the (1, T, H) states of a pack after the last layer below the first LoRA; nothing above is computed.

    Raises:
        TypeError: the layer says something else than states alone.
    """
    states = None

    def take(_layer: Any, _given: Any, said: Any) -> NoReturn:
        nonlocal states
        states = said
        raise _EnoughError

    hook = layers_below(model)[-1].register_forward_hook(take)
    was_training = model.training
    model.eval()
    try:
        model(input_ids=batch.input_ids, use_cache=False, **_seen(model, batch))
    except _EnoughError:
        pass
    finally:
        hook.remove()
        model.train(was_training)
    if not isinstance(states, torch.Tensor) or states.shape[:2] != batch.input_ids.shape:
        raise TypeError("The model's layers do not say states alone.")
    return states


@contextmanager
def _taken_up(model: Any, below: torch.Tensor | None) -> Iterator[None]:
    """Have the layers below the first LoRA do nothing, the last of them but say (1, T, H) states."""
    layers = [] if below is None else layers_below(model)
    were = [layer.__dict__.get("forward") for layer in layers]
    for layer in layers:
        layer.forward = lambda *given, **named: given[0] if given else named["hidden_states"]
    if layers:
        layers[-1].forward = lambda *_, **__: below
    try:
        yield
    finally:
        for layer, was in zip(layers, were, strict=True):
            del layer.forward
            if was is not None:  # another library's own way through the layer
                layer.forward = was


def _seen(model: Any, batch: Pack) -> dict[str, Any]:
    """Return what lets each of a pack's tokens see what it would see in its row alone."""
    if batch.segments is None:
        return {}
    return {"attention_mask": mask(batch.segments, model.dtype), "position_ids": batch.position_ids}


def label_logprobs(model: Any, batch: Pack) -> torch.Tensor:
    """Return the (S,) log-probabilities, in nats (at most 0), of a pack's labels."""
    logits, _ = label_logits(model, batch)
    return -label_nats(logits, batch.labels.to(logits.device))


@torch.no_grad()
def answer_logprobs(model: Any, rows: Sequence[Row], pack_tokens: int) -> list[tuple[Row, torch.Tensor]]:
    """Return each row with its labels' log-probabilities in nats, on the CPU; the model's mode is left as it was.

    Args:
        pack_tokens: how many tokens are computed at once; 0: every row alone.
    """
    was_training = model.training
    model.eval()
    scored: list[tuple[Row, torch.Tensor]] = []
    for group in split_packs(rows, pack_tokens):
        packed = pack(group, model.device)
        scored += zip(packed.rows, packed.by_row(label_logprobs(model, packed).cpu()), strict=True)
    model.train(was_training)
    return scored


def packs_exactly(model: Any, rows: Sequence[Row]) -> bool:
    """Say whether packed rows score as they do alone: false for models that ignore masks or positions.

    Recurrent and ALiBi models do. Rows beyond a sliding window would see too much.
    """
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) or math.inf
    if not _accepts(model, "position_ids") or max(map(len, rows)) > window:
        return False
    if not set(getattr(config, "layer_types", None) or ()) <= {"full_attention", "sliding_attention"}:
        return False
    probe = sorted(rows, key=len)[:2]
    with torch.no_grad():
        both = pack(probe, model.device)
        packed = label_logprobs(model, both)
        alone = torch.cat([label_logprobs(model, pack([row], model.device)) for row in both.rows])
    return bool((packed - alone).abs().mean() < 0.1)  # bf16 noise is below 0.03


def _accepts(model: Any, argument: str) -> bool:
    return argument in inspect.signature(model.get_base_model().forward).parameters
