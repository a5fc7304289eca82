"""Models and tokenizers small enough to train in milliseconds, built from nothing."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    Glm4MoeConfig,
    Glm4MoeForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

torch.set_num_threads(1)  # more threads only wait for each other on models this small

CHATML = (
    "{% for message in messages %}{{ '<|start|>' + message['role'] + '\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}"
)
SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "initializer_range": 0.1,
    "tie_word_embeddings": False,
}


def byte_tokenizer(chat_template: str | None = CHATML, **special: str) -> Any:
    """Build a byte-level tokenizer whose pad token is its end token: <bos> 0, <|end|> 1, <|start|> 2, then bytes."""
    names = ["<bos>", "<|end|>", "<|start|>"]
    symbols = names + sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(symbols)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(names)
    special = {"bos_token": "<bos>", "eos_token": "<|end|>", "pad_token": "<|end|>"} | special
    return PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=chat_template, **special)


def llama(**changes: Any) -> Any:
    """Build a random Llama in float32."""
    torch.manual_seed(7)
    return _speaking(LlamaForCausalLM(LlamaConfig(**SIZES | changes)).float())


def gemma(**changes: Any) -> Any:
    """Build a random Gemma 3 in float32 that caps its logits and slides the window of one of its two layers."""
    torch.manual_seed(7)
    layers = ["sliding_attention", "full_attention"]
    own: dict[str, Any] = {"final_logit_softcapping": 2.0, "sliding_window": 128, "layer_types": layers}
    return _speaking(Gemma3ForCausalLM(Gemma3TextConfig(**SIZES | own | changes)).float())


def seeing_gemma() -> Any:
    """Build a random Gemma 3 in float32 of four layers, with a vision tower whose layers are named as the decoder's."""
    torch.manual_seed(7)
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=SIZES | {"num_hidden_layers": 4, "layer_types": ["full_attention"] * 4},
        vision_config=vision | {"image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
    )
    config.pad_token_id = SIZES["pad_token_id"]
    return _speaking(Gemma3ForConditionalGeneration(config).float())


def glm_of_experts() -> Any:
    """Build a random GLM 4 in float32 whose second layer has experts, one of them shared."""
    own = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "first_k_dense_replace": 1}
    return _speaking(Glm4MoeForCausalLM(Glm4MoeConfig(**SIZES | own)).float())


def _speaking(model: Any) -> Any:
    """Give the output head the scale of a trained one: with a random one no hidden state makes a token likely."""
    torch.nn.init.normal_(model.get_output_embeddings().weight, std=1.0)
    return model


def weights(model: Any) -> list[torch.Tensor]:
    """Return copies of the weights that are trained."""
    return [weight.detach().clone() for weight in model.parameters() if weight.requires_grad]
