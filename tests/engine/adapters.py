"""Builds small real adapters with their manifest and canary, for tests against a real engine."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from app.core.canary import Canary
from app.core.names import AdapterName
from workers.base_model import base_digest, sha256
from workers.trainer.model import save_adapter

PROMPT, ANSWER = "The capital of France is", " Paris, a city on the river Seine, known for its museums and its food."


def build_adapter(root: Path, model: Path, *, home: Path, number: int = 1, scale: float = 0.02) -> AdapterName:
    """Write one random adapter under the artifact root `root`, as the trainer would publish it.

    Args:
        number: seeds the weights and makes the memory's id; another number is another adapter.
        scale: standard deviation of the B factors; 0 makes an adapter that does nothing.
    """
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    torch.manual_seed(number)
    config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
    lora: Any = get_peft_model(base, config, autocast_adapter_dtype=False).eval()
    with torch.no_grad():
        for name, weight in lora.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, scale) if scale else weight.zero_()
    staging = root / f".staging-{number}"
    save_adapter(lora, staging)
    digest = sha256(staging / "adapter_model.safetensors")
    adapter = AdapterName("default", f"mem_{number:026d}", 1, digest[:12])
    manifest = {
        "format": 1,
        "name": str(adapter),
        "tenant": adapter.tenant,
        "memory_id": adapter.owner,
        "version": adapter.version,
        "digest": digest,
        "base": {"digest": base_digest(model, home), "name": model.name},
        "recipe": {},
        "canary": score_canary(lora, model).to_dict(),
    }
    (staging / "manifest.json").write_text(json.dumps(manifest))
    (root / adapter.folder).parent.mkdir(parents=True, exist_ok=True)
    staging.rename(root / adapter.folder)
    return adapter


def score_canary(lora: Any, model: Path) -> Canary:
    """Score the fixed sentence with the adapter on and off."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompt = tokenizer(PROMPT).input_ids
    answer = tokenizer(ANSWER, add_special_tokens=False).input_ids
    on = _logprobs(lora, prompt, answer)
    with lora.disable_adapter():
        off = _logprobs(lora, prompt, answer)
    return Canary(tuple(prompt), tuple(answer), on, off)


@torch.no_grad()
def _logprobs(model: Any, prompt: list[int], answer: list[int]) -> tuple[float, ...]:
    logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].float()  # (answer, vocabulary)
    picked = logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]  # (answer,), nats, below 0
    return tuple(picked.tolist())
