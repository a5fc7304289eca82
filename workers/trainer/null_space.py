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

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from workers.trainer.encode import Row, encode_text, prompt_ids
from workers.trainer.forward import label_logits
from workers.trainer.model import lora_layers
from workers.trainer.moments import PACK_TOKENS, Moments, by_layer, main_directions, read, rows_digest
from workers.trainer.replay import REPLAY_FOLDER, general_prompts

ANSWERED = 200  # prompts that are read with what the base model answers
MOST_DIRECTIONS = 1024  # of a layer

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
    file = home / REPLAY_FOLDER / f"null-space-{base_digest[:16]}-{rows_digest(rows)}-{share:g}.pt"

    def find(names: Collection[str]) -> dict[str, torch.Tensor]:
        found = _moments(model, rows, names, on_read)
        return {name: _main(found[name], share).bfloat16() for name in names}

    return {name: directions.float() for name, directions in by_layer(model, file, find).items()}


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


def _moments(
    model: Any, rows: Sequence[Row], names: Collection[str], on_read: Callable[[int, int], None] | None
) -> dict[str, torch.Tensor]:
    """Return each layer's (in_features, in_features) sum over the rows' tokens of x xᵀ / |x|²."""
    listened = [(name, layer) for name, layer in lora_layers(model) if name in names]
    moments = Moments({name: layer.in_features for name, layer in listened}, unit=True)
    hooks = [layer.register_forward_pre_hook(moments.of_inputs(name)) for name, layer in listened]
    read(model, rows, hooks, torch.no_grad()(partial(label_logits, model)), on_read)
    return moments.sums


def _main(moment: torch.Tensor, share: float) -> torch.Tensor:
    """Return the (in_features, K) fewest directions that hold a share of what a layer is given."""
    values, directions = main_directions(moment, MOST_DIRECTIONS)
    enough = int((values.cumsum(0) < share * moment.trace()).sum()) + 1
    main = directions[:, : min(enough, MOST_DIRECTIONS, len(moment) - 1)]
    return main.cpu().contiguous()  # laid out as it is read back, or products differ in their last bits
