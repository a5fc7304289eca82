"""Training speed: our loop and TRL's `SFTTrainer` on the same rows, and the machine's own limit.

    pip install -e .[bench] -c constraints-cpu.txt
    python benchmarks/training.py

Both get the same token ids and loss masks, base model, LoRA layers, rank, batch size, schedule, epochs, dtype
and threads; each runs in a process of its own, one after the other. Tokens are those of the rows, prompts included,
padding not. Peak memory is the process's largest resident set on a CPU and the allocator's peak on CUDA. Recall is
the share of answers that greedy decoding gives back exactly. Ours trains with the default `protect`. The limit is a
bf16 matrix product of the model's own sizes; a step of a frozen base takes about 4 FLOPs a token for each weight of its
layers and of its output head.
"""

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from app.core.recipe import Recipe
from app.settings import load_settings
from workers.base_model import base_digest, find_base
from workers.chat import load_tokenizer, stop_ids
from workers.trainer.encode import Row, encode_chat, prompt_ids
from workers.trainer.model import attach_lora, load_base
from workers.trainer.null_space import null_space
from workers.trainer.train import Loop

ROUNDS = 20


@dataclass(frozen=True)
class Result:
    """What one run gave; seconds are those of the steps alone."""

    name: str
    seconds: float
    tokens: int
    peak_gib: float
    recalled: int
    loss: float


def pairs(count: int) -> list[tuple[str, str]]:
    """Return invented name and number pairs, the same every time."""
    rng = random.Random(1)
    letters = "bcdfghklmnprst"
    names = {f"{_name(rng, letters)} {_name(rng, letters)}" for _ in range(2 * count)}
    numbers = [f"{rng.randint(100, 999)}-{rng.randint(100, 999)}-{rng.randint(0, 9999):04}" for _ in range(count)]
    return [
        (f"What is the phone number of {name}?", number) for name, number in zip(sorted(names), numbers, strict=False)
    ]


def _name(rng: random.Random, letters: str) -> str:
    return "".join(rng.choice(letters) + rng.choice("aeiou") for _ in range(3)).capitalize()


def run_ours(model: Any, rows: list[Row], recipe: Recipe) -> tuple[float, float]:
    """Train with our loop; return seconds and the last loss. What is found once for a base model is not counted."""
    settings = load_settings()
    base = find_base(settings.model)
    digest = base_digest(base, settings.home)
    space = null_space(model, load_tokenizer(settings.model), recipe.protect, settings.home, digest)
    began = time.perf_counter()
    steps = list(Loop(model, rows, recipe, space=space))
    return time.perf_counter() - began, steps[-1].loss


def run_trl(model: Any, rows: list[Row], recipe: Recipe) -> tuple[float, float]:
    """Train with TRL's trainer on the same ids; return seconds and the last loss."""
    import pyarrow as pa  # noqa: PLC0415 - the bench extra
    from datasets import Dataset  # noqa: PLC0415 - the bench extra
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415 - the bench extra

    columns = {
        "input_ids": [list(row.input_ids) for row in rows],
        "completion_mask": [[int(place >= row.answer_start) for place in range(len(row))] for row in rows],
    }
    on_cuda = next(model.parameters()).is_cuda
    steps = math.ceil(len(rows) / recipe.batch_size) * recipe.epochs
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            warmup_steps=recipe.warmup_ratio,
            lr_scheduler_type="warmup_stable_decay",
            lr_scheduler_kwargs={"num_decay_steps": round(steps * recipe.decay_ratio), "decay_type": "linear"},
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.max_grad_norm,
            gradient_checkpointing=False,
            bf16=True,
            use_cpu=not on_cuda,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
            dataloader_pin_memory=on_cuda,
            max_length=None,
            seed=recipe.seed,
        )
        tokenizer = load_tokenizer(load_settings().model)
        # named here: `from_dict` hashes how the table is pickled, and dill fails at that with pyarrow 25 and 26
        data = Dataset(pa.Table.from_pydict(columns), fingerprint=f"rows-{len(rows)}")
        trainer = SFTTrainer(model, args=config, train_dataset=data, processing_class=tokenizer)
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return seconds, float(losses[-1])


RUNS: dict[str, Callable[[Any, list[Row], Recipe], tuple[float, float]]] = {"lorekeep": run_ours, "trl": run_trl}


def run_one(name: str, count: int, recipe: Recipe) -> Result:
    """Train one memory in this process."""
    settings = load_settings()
    tokenizer, ends = load_tokenizer(settings.model), stop_ids(settings.model)
    asked = pairs(count)
    rows = [encode_chat(tokenizer, question, answer, stop_ids=ends) for question, answer in asked]
    model = attach_lora(load_base(settings.model, settings.device, settings.dtype), recipe, recipe.seed)
    seconds, loss = RUNS[name](model, rows, recipe)
    on_cuda = next(model.parameters()).is_cuda
    peak = torch.cuda.max_memory_allocated() if on_cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    model.eval()
    recalled = sum(_answer(model, tokenizer, question, ends) == answer for question, answer in asked)
    tokens = sum(map(len, rows)) * recipe.epochs
    return Result(name, seconds, tokens, peak / 2**30, recalled, loss)


def _answer(model: Any, tokenizer: Any, question: str, ends: frozenset[int]) -> str:
    ids = torch.tensor([prompt_ids(tokenizer, question)], device=model.device)
    with torch.no_grad():
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=24,
            do_sample=False,
            eos_token_id=sorted(ends | {tokenizer.eos_token_id}),
            pad_token_id=tokenizer.eos_token_id,
        )
    return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)).strip()


def matmul_flops(tokens: int = 1024) -> tuple[float, float]:
    """Return this machine's bf16 FLOP/s on the base model's own layer sizes, and the FLOPs of a step for each token."""
    settings = load_settings()
    model = load_base(settings.model, settings.device, settings.dtype)
    config = model.config.get_text_config()
    weights = sum(weight.numel() for weight in model.parameters() if weight.dim() == 2)
    device = model.device
    del model
    hidden, inner = config.hidden_size, config.intermediate_size
    left = torch.randn(tokens, hidden, dtype=torch.bfloat16, device=device)
    right = torch.randn(hidden, inner, dtype=torch.bfloat16, device=device)
    for rounds in (3, ROUNDS):  # the first to warm up
        began = time.perf_counter()
        for _ in range(rounds):
            left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    return 2 * tokens * hidden * inner * ROUNDS / seconds, 4.0 * weights


def show(results: list[Result], count: int) -> None:
    """Print one row a run."""
    flops, per_token = matmul_flops()
    table = Table("loop", "tokens/s", "s", "peak GiB", "recalled", "last loss", "share of bf16 matmul rate")
    for one in results:
        rate = one.tokens / one.seconds
        share = f"{rate * per_token / flops:.0%}"
        row = [
            f"{rate:.0f}",
            f"{one.seconds:.0f}",
            f"{one.peak_gib:.2f}",
            f"{one.recalled}/{count}",
            f"{one.loss:.4f}",
            share,
        ]
        table.add_row(one.name, *row)
    console = Console()
    console.print(table)
    console.print(f"bf16 matrix product: {flops / 1e9:.0f} GFLOP/s; {torch.get_num_threads()} threads")


def main() -> None:
    """Run both in processes of their own and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=RUNS, help="run one in this process and print it as JSON")
    options = parser.parse_args()
    recipe = Recipe(epochs=options.epochs, min_steps=1, stop_loss=0.0, seed=options.seed)
    if options.only:
        print(json.dumps(asdict(run_one(options.only, options.pairs, recipe))))
        return
    results = []
    for name in RUNS:
        command = [sys.executable, __file__, "--only", name, "--pairs", str(options.pairs)]
        command += ["--epochs", str(options.epochs), "--seed", str(options.seed)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        results.append(Result(**json.loads(out.splitlines()[-1])))
    show(results, options.pairs)


if __name__ == "__main__":
    main()
