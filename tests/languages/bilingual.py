"""A tiny bilingual causal model with planted confusion, made in seconds: a chain of Korean syllables that leaves for
Latin letters after some of them.
"""

import random
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from app.languages.detector import Verdict
from workers.languages.points import Ids, Prompt

torch.set_num_threads(1)
KOREAN, LATIN, DIGITS = "가나다라마바사아자차", "abcdefghij", "0123456789"
SYMBOLS = ["<bos>", "<end>", *KOREAN, *LATIN, *DIGITS]
BOS, END = 0, 1
CONFUSING = "라아"  # what a Latin letter follows
LEAVES = {"a": 0.18, "b": 0.12, "c": 0.07, "d": 0.04, "e": 0.03, "1": 0.06}  # how often which one does
SIZES = {"vocab_size": len(SYMBOLS), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}


class Script:
    """Judges by script alone: Korean is the target, Latin is off, the rest is neutral."""

    def find(self, text: str, prompt: str) -> int | None:
        """See `Judge`."""
        return next((place for place, one in enumerate(text) if one in LATIN), None)

    def classify(self, fragment: str) -> Verdict:
        """See `Judge`."""
        if any(one in LATIN for one in fragment):
            return Verdict.OFF
        return Verdict.TARGET if any(one in KOREAN for one in fragment) else Verdict.NEUTRAL


def ids_of(text: str) -> Ids:
    """Return the tokens of a text, one for each character."""
    return tuple(map(SYMBOLS.index, text))


def tokenizer() -> Any:
    """Build the tokenizer: a token for each character."""
    inner = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(SYMBOLS)}, unk_token="<end>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens(["<bos>", "<end>"])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<bos>", eos_token="<end>", pad_token="<end>")


def prompts() -> list[Prompt]:
    """Return a prompt for each syllable."""
    return [Prompt(one, (BOS, *ids_of(one))) for one in KOREAN]


@cache
def _weights() -> dict[str, torch.Tensor]:
    """Train the model on its chain."""
    torch.manual_seed(0)
    model, chance = _model(), random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(200):
        rows = torch.tensor([_chain(chance) for _ in range(32)])
        model(input_ids=rows, labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    weights: dict[str, torch.Tensor] = model.state_dict()
    return weights


def bilingual() -> Any:
    """Return a fresh copy of the trained model, in float32."""
    model = _model()
    model.load_state_dict(_weights())
    return model


def _model() -> Any:
    more = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
    special = {"bos_token_id": BOS, "eos_token_id": END, "pad_token_id": END}
    return LlamaForCausalLM(LlamaConfig(**SIZES, **more, **special, tie_word_embeddings=False)).float()


def _chain(chance: random.Random) -> list[int]:
    """Sample one text of ten characters and its end."""
    text = chance.choice(KOREAN)
    while len(text) < 10:
        text += _after(text[-1], chance)
    return [BOS, *ids_of(text), END]


def _after(last: str, chance: random.Random) -> str:
    if last in CONFUSING and chance.random() < sum(LEAVES.values()):
        return chance.choices(list(LEAVES), list(LEAVES.values()))[0]
    if last in LATIN:
        return LATIN[(LATIN.index(last) + 1) % 10]
    if last in DIGITS:
        return chance.choice(KOREAN)
    return KOREAN[(KOREAN.index(last) + 1) % 10]
