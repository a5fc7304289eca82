"""Training speed: our loop and TRL's `SFTTrainer` on the same rows, and the machine's own limit.

    pip install -e .[bench] -c constraints-cpu.txt
    python benchmarks/training.py

Both get the same token ids and loss masks, base model, LoRA layers, rank, batch size, schedule, epochs, dtype
and threads; each runs in a process of its own, one after the other. Tokens are those of the rows, prompts included,
padding not. Peak memory is the process's largest resident set on a CPU and the allocator's peak on CUDA. Recall is
the share of answers that greedy decoding gives back exactly. After each epoch, off the clock, it is looked whether
every token of every answer is above 0.5; "s to whole recall" is when that was so first. Ours trains with the default
`protect`, once with one rate and every row in every epoch, as TRL does, and once by the default recipe, which ends when
all is known. The limit is a matrix product of the model's own sizes in its dtype; a step of a frozen base takes about 4
FLOPs a token for each weight of its layers and of its output head. The share counts all of that, so a loop that leaves
some out (prefixes that rows share, layers below the LoRA) can be above 100 %.
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
from workers.trainer.held_out import stand
from workers.trainer.model import attach_lora, load_base
from workers.trainer.null_space import general_rows
from workers.trainer.restraint import restraint
from workers.trainer.train import PACK_TOKENS, Loop

ROUNDS = 20
MATMUL_TOKENS = 1024


@dataclass(frozen=True)
class Run:
    """A training: seconds and tokens of its steps, the last loss, and after how many seconds recall was whole."""

    seconds: float
    loss: float
    tokens: int
    whole: float | None


@dataclass(frozen=True)
class Result:
    """What one process gave."""

    name: str
    peak_gib: float
    recalled: int
    run: Run


class Clock:
    """Counts the seconds of training; stands still while recall is looked at, and notes when it was whole first."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows, self._began = rows, time.perf_counter()
        self.whole: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training until now."""
        return time.perf_counter() - self._began

    def look(self, model: Any) -> None:
        """Look at recall off the clock."""
        if self.whole is not None:
            return
        at = self.seconds
        self.whole = at if stand(model, self._rows, PACK_TOKENS).recalled == 1.0 else None
        self._began = time.perf_counter() - at


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


def run_ours(model: Any, rows: list[Row], recipe: Recipe) -> Run:
    """Train with our loop. What is found once for a base model is not counted."""
    settings = load_settings()
    base = find_base(settings.model)
    digest = base_digest(base, settings.home)
    held_back = restraint(model, general_rows(load_tokenizer(str(base))), recipe, settings.home, digest)
    clock, steps, batches = Clock(rows), [], recipe.batches(len(rows))
    for step in Loop(model, rows, recipe, restraint=held_back):
        steps.append(step)
        if not recipe.rest_above and step.index % batches == 0:
            clock.look(model)
    seconds = clock.seconds
    clock.look(model)
    return Run(seconds, steps[-1].loss, sum(step.tokens for step in steps), clock.whole)


def run_shipped(model: Any, rows: list[Row], recipe: Recipe) -> Run:
    """Train with our loop as the product does; whole recall is looked at when it ends."""
    return run_ours(model, rows, Recipe(epochs=recipe.epochs, min_steps=recipe.min_steps, seed=recipe.seed))


def run_trl(model: Any, rows: list[Row], recipe: Recipe) -> Run:
    """Train with TRL's trainer on the same ids."""
    import pyarrow as pa  # noqa: PLC0415 - the bench extra
    from datasets import Dataset  # noqa: PLC0415 - the bench extra
    from transformers import TrainerCallback  # noqa: PLC0415 - slow to import
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
            bf16=model.dtype == torch.bfloat16,
            use_cpu=not on_cuda,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
            dataloader_pin_memory=on_cuda,
            max_length=None,
            seed=recipe.seed,
        )
        tokenizer = load_tokenizer(str(find_base(load_settings().model)))
        # named here: `from_dict` hashes how the table is pickled, and dill fails at that with pyarrow 25 and 26
        data = Dataset(pa.Table.from_pydict(columns), fingerprint=f"rows-{len(rows)}")
        trainer = SFTTrainer(model, args=config, train_dataset=data, processing_class=tokenizer)
        clock = Clock(rows)

        class Look(TrainerCallback):  # type: ignore[misc]
            def on_epoch_end(self, *_: Any, **__: Any) -> None:
                clock.look(trainer.model)

        trainer.add_callback(Look())
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Run(clock.seconds, float(losses[-1]), sum(map(len, rows)) * recipe.epochs, clock.whole)


RUNS: dict[str, Callable[[Any, list[Row], Recipe], Run]] = {
    "lorekeep": run_ours,
    "lorekeep, as shipped": run_shipped,
    "trl": run_trl,
}


def run_one(name: str, count: int, recipe: Recipe) -> Result:
    """Train one memory in this process."""
    settings = load_settings()
    folder = str(find_base(settings.model))
    tokenizer, ends = load_tokenizer(folder), stop_ids(folder)
    asked = pairs(count)
    rows = [encode_chat(tokenizer, question, answer, stop_ids=ends) for question, answer in asked]
    model = attach_lora(load_base(settings.model, settings.device, settings.dtype), recipe, recipe.seed)
    run = RUNS[name](model, rows, recipe)
    on_cuda = next(model.parameters()).is_cuda
    peak = torch.cuda.max_memory_allocated() if on_cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    model.eval()
    recalled = sum(_answer(model, tokenizer, question, ends) == answer for question, answer in asked)
    return Result(name, peak / 2**30, recalled, run)


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


def matmul_flops() -> tuple[float, float]:
    """Return this machine's FLOP/s on the base model's own layer sizes and dtype, and a step's FLOPs for each token."""
    settings = load_settings()
    model = load_base(settings.model, settings.device, settings.dtype)
    config = model.config.get_text_config()
    weights = sum(weight.numel() for weight in model.parameters() if weight.dim() == 2)
    device, dtype = model.device, model.dtype
    del model
    hidden, inner = config.hidden_size, config.intermediate_size
    left = torch.randn(MATMUL_TOKENS, hidden, dtype=dtype, device=device)
    right = torch.randn(hidden, inner, dtype=dtype, device=device)
    for rounds in (3, ROUNDS):  # the first to warm up
        began = time.perf_counter()
        for _ in range(rounds):
            left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    return 2 * MATMUL_TOKENS * hidden * inner * ROUNDS / seconds, 4.0 * weights


def show(results: list[Result], count: int) -> None:
    """Print one row a run."""
    flops, per_token = matmul_flops()
    columns = ("loop", "tokens/s", "s", "s to whole recall", "peak GiB", "recalled", "last loss")
    table = Table(*columns, "share of matmul rate")
    for one in results:
        run = one.run
        rate = run.tokens / run.seconds
        row = [
            f"{rate:.0f}",
            f"{run.seconds:.0f}",
            f"{run.whole:.0f}" if run.whole is not None else "-",
            f"{one.peak_gib:.2f}",
            f"{one.recalled}/{count}",
            f"{run.loss:.4f}",
            f"{rate * per_token / flops:.0%}",
        ]
        table.add_row(one.name, *row)
    console = Console()
    console.print(table)
    console.print(f"matrix product in the weights' dtype: {flops / 1e9:.0f} GFLOP/s; {torch.get_num_threads()} threads")


def main() -> None:
    """Run both in processes of their own and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=RUNS, help="run one in this process and print it as JSON")
    options = parser.parse_args()
    plain = {"stop_loss": 0.0, "rest_above": 0.0, "lr_ratio": 1.0, "cool_below": 0.0}  # what TRL does as well
    recipe = Recipe.from_dict({**plain, "epochs": options.epochs, "min_steps": 1, "seed": options.seed})
    if options.only:
        print(json.dumps(asdict(run_one(options.only, options.pairs, recipe))))
        return
    results = []
    for name in RUNS:
        command = [sys.executable, __file__, "--only", name, "--pairs", str(options.pairs)]
        command += ["--epochs", str(options.epochs), "--seed", str(options.seed)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        fields = json.loads(out.splitlines()[-1])
        results.append(Result(**{**fields, "run": Run(**fields["run"])}))
    show(results, options.pairs)


if __name__ == "__main__":
    main()
