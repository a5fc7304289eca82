"""SFT, DPO and ORPO on as many answers as TLPO explored: the same prompts, LoRA and number of steps.

They are sampled once for every baseline of a seed. SFT learns the clean answers; DPO and ORPO prefer a clean answer to
a confused one to the same prompt. DPO and ORPO are TRL's (extra `bench`), where ORPO stands under `trl.experimental`.
"""

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from app.core.guard_recipe import GuardRecipe
from app.core.recipe import Recipe
from experiments.tlpo_bench import FRAMES, Bare, Bench, Framed
from workers.languages.judge import judge_of
from workers.languages.model import attach_guard
from workers.languages.points import Ids, Prompt, decode
from workers.languages.torch_policy import TorchPolicy
from workers.trainer.encode import Row
from workers.trainer.model import load_base
from workers.trainer.train import Loop

PREFERENCE_BETA = 0.1


@dataclass(frozen=True)
class Budget:
    """What a training may use: sampled answers and steps."""

    answers: int
    steps: int

    @classmethod
    def of(cls, run: dict[str, Any]) -> "Budget":
        """Return what a run of TLPO used."""
        return cls(sum(one["answers"] for one in run["cost"]["explored"]), len(run["cost"]["steps"]))


@dataclass(frozen=True)
class Sampled:
    """Answers of the model before training, for at most so many steps; `clean` says which kept to the language.

    `seconds` is how long it took to sample them.
    """

    model: str
    tokenizer: Any
    prompts: Sequence[Prompt]
    said: Sequence[Ids]
    clean: Sequence[bool]
    steps: int
    seconds: float

    def pairs(self) -> list[tuple[Ids, Ids, Ids]]:
        """Return (prompt, clean, confused) for every confused answer whose prompt has a clean one."""
        kept: dict[Ids, list[Ids]] = defaultdict(list)
        left: dict[Ids, list[Ids]] = defaultdict(list)
        for prompt, ids, is_clean in zip(self.prompts, self.said, self.clean, strict=True):
            (kept if is_clean else left)[prompt.ids].append(ids)
        return [
            (prompt, good, bad) for prompt, ones in left.items() for good, bad in zip(kept[prompt], ones, strict=False)
        ]


def sample(bench: Bench, recipe: GuardRecipe, budget: Budget) -> Sampled:
    """Sample answers for the baselines."""
    began = time.monotonic()
    model = load_base(bench.args.model, "auto", "auto")
    torch.manual_seed(recipe.seed)
    asked = (bench.train * (budget.answers // len(bench.train) + 1))[: budget.answers]
    policy = TorchPolicy(Bare(model), recipe, ends=bench.ends, batch=bench.args.batch)
    said = asyncio.run(policy.answers([prompt.ids for prompt in asked]))
    stop = FRAMES[recipe.language][1]
    judge, said = Framed(judge_of(recipe), stop), [_judged(bench.tokenizer, ids, stop) for ids in said]
    clean = [
        judge.find(decode(bench.tokenizer, ids), prompt.text) is None for prompt, ids in zip(asked, said, strict=True)
    ]
    return Sampled(bench.args.model, bench.tokenizer, asked, said, clean, budget.steps, time.monotonic() - began)


def _judged(tokenizer: Any, ids: Ids, stop: str) -> Ids:
    """Return what of an answer is judged, the stop string included: what comes after it nobody has seen to."""
    ends = (end for end in range(1, len(ids)) if stop in decode(tokenizer, ids[:end]))
    return ids[: next(ends, len(ids))]


def sft(sampled: Sampled, recipe: GuardRecipe) -> Any:
    """Train on clean answers, with the memory's own loop."""
    answers = zip(sampled.prompts, sampled.said, sampled.clean, strict=True)
    rows = [Row((*prompt.ids, *ids), len(prompt.ids)) for prompt, ids, is_clean in answers if is_clean and ids]
    if not rows:
        raise SystemExit("No sampled answer is clean: there is nothing to learn by SFT.")
    most = sampled.steps * recipe.points_per_step
    how = Recipe(
        epochs=1,
        min_steps=1,
        batch_size=recipe.points_per_step,
        learning_rate=recipe.learning_rate,
        lr_ratio=1.0,  # as in a guard's own training
        cool_below=0.0,
        weight_decay=recipe.weight_decay,
        stop_loss=0.0,
        seed=recipe.seed,
    )
    model = attach_guard(load_base(sampled.model, "auto", "auto"), recipe)
    for _ in Loop(model, rows[:most], how):
        pass
    return model


def dpo(sampled: Sampled, recipe: GuardRecipe) -> Any:
    """Prefer clean answers by DPO; the reference is the model with the LoRA switched off."""
    from trl import DPOConfig, DPOTrainer  # noqa: PLC0415 - the extra `bench` alone has it

    return _prefer(DPOTrainer, DPOConfig, sampled, recipe)


def orpo(sampled: Sampled, recipe: GuardRecipe) -> Any:
    """Prefer clean answers by ORPO, which needs no reference."""
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer  # noqa: PLC0415 - the extra `bench` alone has it

    return _prefer(ORPOTrainer, ORPOConfig, sampled, recipe)


def _prefer(trainer: Any, config: Any, sampled: Sampled, recipe: GuardRecipe) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - the extra `bench` alone has it
    from datasets import Dataset  # noqa: PLC0415 - the extra `bench` alone has it

    def text(ids: Ids) -> str:
        return str(sampled.tokenizer.decode(list(ids), skip_special_tokens=False))

    pairs = [{"prompt": text(p), "chosen": text(good), "rejected": text(bad)} for p, good, bad in sampled.pairs()]
    if not pairs:
        raise SystemExit("No prompt has a clean and a confused answer: there is nothing to prefer.")
    model = attach_guard(load_base(sampled.model, "auto", "auto"), recipe)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()  # TRL's optimizer keeps no float32 copies, as ours does
    with tempfile.TemporaryDirectory() as folder:
        how = config(
            output_dir=folder,
            beta=PREFERENCE_BETA,
            learning_rate=recipe.learning_rate,
            max_steps=sampled.steps,
            per_device_train_batch_size=recipe.points_per_step,
            lr_scheduler_type="cosine",
            warmup_steps=recipe.warmup_ratio,  # below 1: a share
            weight_decay=recipe.weight_decay,
            seed=recipe.seed,
            gradient_checkpointing=False,
            use_cpu=not torch.cuda.is_available(),
            report_to=[],
            save_strategy="no",
        )
        # named here: `from_list` hashes how the table is pickled, and dill fails at that with pyarrow 25 and 26
        data = Dataset(pa.Table.from_pylist(pairs), fingerprint=f"sampled-{len(pairs)}")
        trainer(model=model, args=how, train_dataset=data, processing_class=sampled.tokenizer).train()
    return model


METHODS: dict[str, Callable[[Sampled, GuardRecipe], Any]] = {"sft": sft, "dpo": dpo, "orpo": orpo}


class Baselines:
    """Trains baselines; the answers of a seed and budget are sampled once for all of them."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._sampled: dict[tuple[int, Budget], Sampled] = {}

    def train(self, name: str, recipe: GuardRecipe, budget: Budget) -> tuple[Any, dict[str, Any]]:
        """Train one; return the model with it, and what it used."""
        key = recipe.seed, budget
        if key not in self._sampled:
            self._sampled[key] = sample(self._bench, recipe, budget)
        sampled = self._sampled[key]
        began = time.monotonic()
        model = METHODS[name](sampled, recipe)
        seconds = round(sampled.seconds + time.monotonic() - began, 1)
        used = {"answers": len(sampled.said), "clean": sum(sampled.clean), "steps": budget.steps}
        return model, {**used, "training_s": seconds}
