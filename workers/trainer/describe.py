"""The base model as the capacity plan must know it: sizes from its configuration, with no weights loaded."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from app.core.capacity import BaseShape
from app.errors import StartupError
from app.settings import Settings
from workers.base_model import base_digest, find_base
from workers.chat import load_tokenizer
from workers.dtype import pick_dtype, uses_cuda
from workers.trainer.encode import prompt_ids
from workers.trainer.model import linear_layers


def describe_base(settings: Settings) -> BaseShape:
    """Describe the base model that the settings name.

    Raises:
        StartupError: there is no such model, or it is of a kind that cannot be trained.
    """
    folder = find_base(settings.model)
    tokenizer = load_tokenizer(str(folder))
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    except (OSError, ValueError) as error:
        raise StartupError(f"The base model at {folder} cannot be read: {error}") from error
    dtype = pick_dtype(settings.dtype, on_cuda=uses_cuda(settings.device))
    return BaseShape(
        digest=base_digest(folder, settings.home),
        name=folder.name,
        layers=linear_layers(model),
        weight_bytes=getattr(torch, dtype).itemsize,
        template_tokens=len(prompt_ids(tokenizer, "")) + 1,  # and the token that ends the answer
    )
