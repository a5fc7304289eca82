"""The base model's tokenizer and chat template: one rule for the engine, the trainer and the evaluation.

A base model without a chat template gets the packaged `plain_chat.jinja`, by `serving_template` here and in the engine.
No model is known by name.
"""

from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer, GenerationConfig

from app.errors import StartupError
from workers.base_model import serving_template

_MARK = "passages"


def load_tokenizer(model: str) -> Any:
    """Load a tokenizer with the chat template that the engine serves it with.

    Args:
        model: the base model's folder.

    Raises:
        StartupError: the tokenizer cannot be read.
    """
    tokenizer = _read_tokenizer(model)
    if template := serving_template(Path(model)):
        tokenizer.chat_template = template.read_text(encoding="utf-8")
    return tokenizer


def takes_system(tokenizer: Any) -> bool:
    """Say whether a tokenizer's chat template shows a system message; some refuse one, others leave it out."""
    chat = [{"role": "system", "content": _MARK}, {"role": "user", "content": "?"}]
    try:
        return _MARK in tokenizer.apply_chat_template(chat, tokenize=False)
    except TemplateError:
        return False


def stop_ids(model: str) -> frozenset[int]:
    """Return the token ids that end an answer by the generation config of `model`.

    The engine also stops on its tokenizer's end-of-sequence token. A model without such a file has none.
    """
    try:
        ends = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:
        return frozenset()
    return frozenset([ends] if isinstance(ends, int) else ends or ())


def _read_tokenizer(model: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise StartupError(
            f"No tokenizer can be read from {model!r}: set LOREKEEP_BASE_MODEL to a model's folder or hub id."
        ) from error
