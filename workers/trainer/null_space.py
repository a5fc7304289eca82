"""What a LoRA is kept from reading: the directions in which a layer's inputs lie when general things are asked.

An update BA leaves an input x as it was where Ax = 0. The base model reads general rows once, its own answers to the
shipped questions among them; the directions that hold most of what each layer is then given are kept, and A stays
orthogonal to them. What is left tells one fact from another better as well: what all questions have in common is what
is taken out.

Paper: Fang et al. 2024 (AlphaEdit), https://arxiv.org/abs/2410.02355, section 3, which projects the update of one
edit; Tang et al. 2025 (LoRA-Null), https://arxiv.org/abs/2503.02659, which lets A begin there. Deviations: A is put
back after every step; every token counts the same whatever its length, for the first of a text is hundreds of times as
long as the others.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from workers.trainer.batches import pack, split_packs
from workers.trainer.encode import Row, encode_text, prompt_ids
from workers.trainer.forward import label_logits, packs_exactly
from workers.trainer.kept import keep_tensors
from workers.trainer.model import base_alone, lora_layers
from workers.trainer.replay import REPLAY_FOLDER, general_prompts

ANSWERED = 200  # prompts that are read with what the base model answers
PACK_TOKENS = 512
MOST_DIRECTIONS = 1024  # of a layer
EXACT_WIDTH = 2048  # wider layers' directions are found by a random projection
_BYTES_AT_ONCE = 2**31  # of covariances

NullSpace = Mapping[str, torch.Tensor]  # a LoRA layer's name -> (in_features, K) orthonormal directions, float32


def null_space(
    model: Any,
    rows: Sequence[Row],
    share: float,
    home: Path,
    base_digest: str,
    *,
    on_read: Callable[[int, int], None] | None = None,
) -> NullSpace:
    """Return the directions that A is kept out of, from where they are kept, or found and kept; none where share is 0.

    Args:
        model: from `attach_lora`; every LoRA on it is off meanwhile.
        rows: what is general, such as `general_rows`; what they are is part of the name of the file that is kept.
        share: of what the layers are given on general inputs, in [0, 1), that the directions hold.
        on_read: told how many of the rows are read, and how many there are.
    """
    if not share:
        return {}
    layers = sorted(name for name, _ in lora_layers(model))
    file = home / REPLAY_FOLDER / f"null-space-{base_digest[:16]}-{_digest(rows)}-{share:g}.pt"
    known: dict[str, torch.Tensor] = torch.load(file, weights_only=True) if file.is_file() else {}
    missing = [name for name in layers if name not in known]
    if missing:
        for group in _groups(model, missing):
            found = _covariances(model, rows, group, on_read)
            known |= {name: _main(found[name], share).bfloat16() for name in group}
        keep_tensors(file, known)
    return {name: known[name].float() for name in layers}


def general_rows(tokenizer: Any, start: int = 0) -> list[Row]:
    """Turn the shipped prompts from `start` on into rows: questions as they are asked, texts as they begin."""
    rows = []
    for prompt in general_prompts()[start:]:
        if prompt.goes_on:
            rows.append(encode_text(tokenizer, prompt.text, max_tokens=PACK_TOKENS))
        else:
            asked = prompt_ids(tokenizer, prompt.text)
            rows.append(Row(asked, len(asked) - 1))
    return rows


def _digest(rows: Sequence[Row]) -> str:
    return hashlib.sha256(json.dumps([row.input_ids for row in rows]).encode()).hexdigest()[:8]


def _groups(model: Any, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the layers in groups whose covariances fit into memory together."""
    widths = {name: layer.in_features for name, layer in lora_layers(model)}
    group: list[str] = []
    for name in names:
        if group and 4 * sum(widths[one] ** 2 for one in [*group, name]) > _BYTES_AT_ONCE:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def _covariances(
    model: Any, rows: Sequence[Row], names: Collection[str], on_read: Callable[[int, int], None] | None
) -> dict[str, torch.Tensor]:
    """Return each layer's (in_features, in_features) sum over the rows' tokens of x xᵀ / |x|²."""
    together = PACK_TOKENS if packs_exactly(model, rows) else 0
    listened = {name: layer for name, layer in lora_layers(model) if name in names}
    sums = {name: torch.zeros(one.in_features, one.in_features) for name, one in listened.items()}

    def add(name: str, given: torch.Tensor) -> None:
        tokens = functional.normalize(given.flatten(0, -2).float(), dim=1).to(given.dtype)  # (T, in_features)
        sums[name] = sums[name].to(tokens.device).add_(tokens.T @ tokens)  # of a pack in the model's own precision

    def listener(name: str) -> Callable[..., None]:
        return lambda _layer, given: add(name, given[0])

    hooks = [one.register_forward_pre_hook(listener(name)) for name, one in listened.items()]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), base_alone(model):
            read = 0
            for group in split_packs(rows, together):
                label_logits(model, pack(group, model.device))
                read += len(group)
                if on_read:
                    on_read(read, len(rows))
    finally:
        for hook in hooks:
            hook.remove()
        model.train(was_training)
    return sums


def _main(covariance: torch.Tensor, share: float) -> torch.Tensor:
    """Return the (in_features, K) fewest directions that hold a share of what a layer is given."""
    width = len(covariance)
    if width <= EXACT_WIDTH:
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values.flip(0), vectors.flip(1)
    else:
        vectors, values, _ = torch.svd_lowrank(covariance, q=MOST_DIRECTIONS)
    enough = int((values.cumsum(0) < share * covariance.trace()).sum()) + 1
    main: torch.Tensor = vectors[:, : min(enough, MOST_DIRECTIONS, width - 1)]
    return main.cpu().contiguous()  # laid out as it is read back, or products differ in their last bits
