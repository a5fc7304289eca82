"""What TLPO's rivals learn from."""

from argparse import Namespace
from pathlib import Path

import torch

from app.core.guard_recipe import GuardRecipe
from experiments.tlpo_baselines import Budget, sample
from experiments.tlpo_bench import Bench
from tests.trainer.tiny import byte_tokenizer, llama
from workers.languages.points import Prompt, decode

TOKENIZER = byte_tokenizer()
END = TOKENIZER.eos_token_id


def says(text: str, folder: Path) -> str:
    """Save a model that says each letter of a text, all different, after the one before, and then its end."""
    ids, model = [*TOKENIZER(text)["input_ids"], END], llama()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.get_input_embeddings().weight[ids] = torch.eye(len(ids), model.config.hidden_size)
        head = model.get_output_embeddings().weight.zero_()
        head[ids[1:], range(len(ids) - 1)] = 100.0
    model.save_pretrained(folder)
    return str(folder)


def test_an_answer_is_learned_as_far_as_it_was_judged(tmp_path: Path) -> None:
    prompt = Prompt("?", tuple(TOKENIZER("?")["input_ids"]))
    for text, learned in (("?Za\nQuestion: X", "Za\nQuestion"), ("?Za\nX", "Za\nX")):
        bench = Bench(Namespace(model=says(text, tmp_path), batch=1), TOKENIZER, (END,), [prompt], [])
        sampled = sample(bench, GuardRecipe("fr"), Budget(answers=2, steps=1))

        assert (list(sampled.clean), [decode(TOKENIZER, ids) for ids in sampled.said]) == ([True] * 2, [learned] * 2)
