"""TLPO on one model and language: consistency before and after, beside what was kept; baselines and ablations.

    python -m experiments.tlpo --model FOLDER --lcb FOLDER --language ko --strict --seeds 0,1,2 --out ko.jsonl
    python -m experiments.tlpo … --methods tlpo,sft,dpo,orpo
    python -m experiments.tlpo … --vary 'centred={"advantage": "centred"}' --vary 'N8={"candidates": 8}'

Offline: this process samples, trains and measures. Training prompts are the shipped ones; the Language Confusion
Benchmark's monolingual prompts (`--lcb`, the folder with `test_sets/`) are asked before and after, `--draws` times
each, so that differences are paired by prompt. Prompts stand in a native question/answer frame behind `<bos>`; an
answer ends where it asks the next question. The baselines have as many answers and steps as the run of TLPO with their
seed, in this call or in `--out` already. DPO and ORPO need the extra `bench` (TRL). Every run is a line of JSON in
`--out`, `--plot` draws all lines of it. English questions are asked as well: the gate's control set, and with it
`benchmarks/general.csv`, since 44 questions tell no difference of one point; greedily, and four times at the recipe's
temperature, where a likeliest token that was so by a hair matters no more than it should. What they lose stands in
points, with its 95 % interval by bootstrap over the questions.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from app.control import ControlQuestion, control_questions, read_questions
from app.core.guard_recipe import GuardRecipe
from app.languages.detector import find_confusion
from app.languages.metrics import bootstrap, summarise
from app.languages.policies import policy_for
from app.settings import load_settings
from experiments.tlpo_baselines import METHODS, Baselines, Budget
from experiments.tlpo_bench import FRAMES, Bare, Bench, Framed, open_bench
from workers.base_model import base_digest
from workers.languages.explore import Explorer, Found
from workers.languages.judge import judge_of
from workers.languages.model import attach_guard
from workers.languages.points import Ids, Prompt, decode
from workers.languages.prompts import clean_texts
from workers.languages.torch_policy import TorchPolicy
from workers.languages.train import GuardLoop, GuardStep
from workers.trainer.batches import pack
from workers.trainer.control import MAX_ANSWER_TOKENS
from workers.trainer.encode import encode_text
from workers.trainer.forward import label_logprobs
from workers.trainer.model import load_base
from workers.trainer.null_space import general_rows
from workers.trainer.restraint import restraint

GENERAL = Path(__file__).parents[1] / "benchmarks" / "general.csv"
ENGLISH_DRAWS = 4

# measuring


def measure(bench: Bench, model: Any, recipe: GuardRecipe) -> dict[str, Any]:
    """Ask a model the unseen prompts and the control set, and score plain texts."""
    began, language = time.monotonic(), recipe.language
    torch.manual_seed(12345)
    asked = [prompt for prompt in bench.unseen for _ in range(bench.args.draws)]
    policy = TorchPolicy(model, recipe, ends=bench.ends, batch=bench.args.batch)
    said = asyncio.run(policy.answers([prompt.ids for prompt in asked]))
    answers = bench.answers(asked, said, language)
    neutral, strict = (policy_for(language, strict=one) for one in (False, True))
    spans = [find_confusion(one.text, strict if recipe.strict else neutral, prompt=one.prompt) for one in answers]
    draws = bench.args.draws
    gate = [one for one in control_questions() if one.expected]
    english = [*gate, *read_questions(GENERAL)]
    greedy, sampled = (are_right(bench, model, recipe, english, draws=draws) for draws in (0, ENGLISH_DRAWS))
    return {
        "neutral": summarise(answers, neutral).to_dict(),
        "strict": summarise(answers, strict).to_dict(),
        "kinds": dict(Counter(str(span.kind) for span in spans if span)),
        "examples": [span.text[:40] for span in spans if span][:40],
        "clean_by_prompt": [[not span for span in spans[i : i + draws]] for i in range(0, len(spans), draws)],
        "nats_clean": nats(bench, model, clean_texts(language)),
        "nats_english": nats(bench, model, clean_texts("en")),
        "control": statistics.fmean(greedy[: len(gate)]),
        "general": statistics.fmean(greedy),
        "general_sampled": statistics.fmean(sampled),
        "by_question": {"general": greedy, "general_sampled": sampled},
        "seconds": round(time.monotonic() - began, 1),
        "tokens": sum(map(len, said)),
    }


@torch.no_grad()
def nats(bench: Bench, model: Any, texts: Sequence[str]) -> float:
    """Return the mean negative log-probability of plain texts, in nats per token."""
    scored = []
    for text in texts:
        row = encode_text(bench.tokenizer, text)
        scored.append(-label_logprobs(model, pack([row], model.device)))
    return float(torch.cat(scored).mean())


def are_right(
    bench: Bench, model: Any, recipe: GuardRecipe, asked: Sequence[ControlQuestion], *, draws: int
) -> list[float]:
    """Ask English questions greedily, or so many times at the recipe's temperature; return each one's right share."""
    short = replace(recipe, max_new_tokens=MAX_ANSWER_TOKENS)
    policy = TorchPolicy(model, short, ends=bench.ends, batch=bench.args.batch)
    prompts = [bench.framed(one.question, "en").ids for one in asked for _ in range(draws or 1)]
    said = asyncio.run(policy.answers(prompts) if draws else policy.greedy(prompts, MAX_ANSWER_TOKENS))
    texts = iter([decode(bench.tokenizer, ids).partition("\n")[0] for ids in said])
    return [statistics.fmean(one.is_right(next(texts)) for _ in range(draws or 1)) for one in asked]


# training


def train_tlpo(bench: Bench, recipe: GuardRecipe, console: Console) -> tuple[Any, dict[str, Any]]:
    """Train a guard; return the model with it, and where the time went."""
    began = time.monotonic()
    model = attach_guard(load_base(bench.args.model, "auto", "auto"), recipe)
    torch.manual_seed(recipe.seed)
    judge = Framed(judge_of(recipe), FRAMES[recipe.language][1])
    policy = Timed(TorchPolicy(model, recipe, ends=bench.ends, batch=bench.args.batch))
    explorer = Explorer(policy, bench.tokenizer, judge, recipe, bench.ends, at_once=bench.args.batch)
    home = load_settings().home
    digest = base_digest(Path(bench.args.model), home)
    loop = GuardLoop(model, recipe, restraint(model, general_rows(bench.tokenizer), recipe, home, digest))
    steps: list[GuardStep] = []
    explored: list[dict[str, Any]] = []
    updates_s = 0.0
    for iteration in range(1, recipe.iterations + 1):
        found = asyncio.run(_last(explorer, bench.train, iteration))
        explored.append({"answers": found.answers, "confused": found.confused, "points": len(found.groups)})
        console.print(f"iteration {iteration}: {explored[-1]}, {policy.seconds}")
        if (steps and found.ends_training(recipe)) or not found.can_teach(recipe):
            break
        learning = time.monotonic()
        for step in loop.learn(found.groups, iteration):
            steps.append(step)
        updates_s += time.monotonic() - learning
        if steps:
            console.print(f"  {steps[-1]}", style="dim")
    spent = {name: round(one, 1) for name, one in policy.seconds.items()} | {"updates": round(updates_s, 1)}
    cost = {
        "training_s": round(time.monotonic() - began, 1),
        "seconds": spent,
        "explored": explored,
        "lookahead_over_decode": policy.overhead(),
    }
    return model, {**cost, "steps": [asdict(step) for step in steps]}


async def _last(explorer: Explorer, prompts: Sequence[Prompt], iteration: int) -> Found:
    found = [one async for one in explorer.explore(prompts, iteration)]
    return found[-1] if found else Found()


class Timed:
    """A policy that notes how long each kind of decoding took, and for how many tokens."""

    def __init__(self, policy: TorchPolicy) -> None:
        self._policy = policy
        self.seconds = {"answers": 0.0, "candidates": 0.0, "greedy": 0.0}
        self.tokens = {"answers": 0, "candidates": 0, "greedy": 0}

    async def answers(self, prompts: Sequence[Ids]) -> list[Ids]:
        """See `Policy`."""
        return await self._timed("answers", self._policy.answers(prompts))

    async def candidates(self, prefixes: Sequence[Ids]) -> list[Ids]:
        """See `Policy`."""
        return await self._timed("candidates", self._policy.candidates(prefixes))

    async def greedy(self, prefixes: Sequence[Ids], tokens: int) -> list[Ids]:
        """See `Policy`."""
        return await self._timed("greedy", self._policy.greedy(prefixes, tokens))

    def overhead(self) -> float | None:
        """Return what a token of look-ahead costs, in tokens of plain batched decoding."""
        if not self.tokens["greedy"] or not self.tokens["answers"]:
            return None
        ahead, plain = (self.seconds[one] / self.tokens[one] for one in ("greedy", "answers"))
        return round(ahead / plain, 2)

    async def _timed(self, name: str, work: Any) -> list[Ids]:
        began = time.monotonic()
        found: list[Ids] = await work
        self.seconds[name] += time.monotonic() - began
        self.tokens[name] += sum(map(len, found))
        return found


# reporting


def gain(before: dict[str, Any], after: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the shares of clean answers and the interval of their paired difference, by bootstrap over prompts."""
    pairs = [[one] for one in zip(before["clean_by_prompt"], after["clean_by_prompt"], strict=True)]

    def difference(drawn: Sequence[tuple[list[bool], list[bool]]]) -> float:
        was, now = ([one for side in part for one in side] for part in zip(*drawn, strict=True))
        return float(sum(now) / len(now) - sum(was) / len(was))

    draws = sum(map(len, before["clean_by_prompt"]))
    clean = [sum(map(sum, one["clean_by_prompt"])) / draws for one in (before, after)]
    return {"draws": draws, "clean": clean, "interval": bootstrap(pairs, difference, seed=seed)}


def english_lost(before: dict[str, Any], after: dict[str, Any], kind: str, seed: int) -> str:
    """Say what share of English questions is right before and after, and the interval of what is lost, in points."""
    each = [
        [100 * (was - now)] for was, now in zip(before["by_question"][kind], after["by_question"][kind], strict=True)
    ]
    low, high = bootstrap(each, statistics.fmean, seed=seed) or (0.0, 0.0)
    return f"{before[kind]:.1%} -> {after[kind]:.1%} ({low:.1f} to {high:.1f})"


def report(console: Console, runs: Sequence[dict[str, Any]]) -> None:
    """Print a table: what was won, beside what was kept."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = (
        "run",
        "seed",
        "clean",
        "95 % of the rise",
        "neutral RPR",
        "strict RPR",
        "ppl own",
        "ppl en",
        "control",
        "general: lost",
        "sampled: lost",
    )
    for column in (*columns, "length", "distinct", "ended"):
        table.add_column(column, justify="right")
    for run in runs:
        table.add_row(*_cells(run))
    console.print(table)


def _cells(run: dict[str, Any]) -> list[str]:
    was, now, won = run["before"], run["after"], run["gain"]
    ratio = [f"{torch.tensor(now[one] - was[one]).exp().item() - 1:+.1%}" for one in ("nats_clean", "nats_english")]
    interval = won["interval"]
    return [
        run["method"],
        str(run["seed"]),
        f"{won['clean'][0]:.1%} -> {won['clean'][1]:.1%}",
        f"{interval[0]:+.1%} to {interval[1]:+.1%}" if interval else "",
        *[f"{was[one]['rpr'] or 0:.1%} -> {now[one]['rpr'] or 0:.1%}" for one in ("neutral", "strict")],
        *ratio,
        f"{was['control']:.1%} -> {now['control']:.1%}",
        *[english_lost(was, now, kind, run["seed"]) for kind in ("general", "general_sampled")],
        *[
            f"{was['strict'][one] or 0:.3g} -> {now['strict'][one] or 0:.3g}"
            for one in ("mean_characters", "distinct", "ended")
        ],
    ]


def main() -> None:
    """Run what the command names."""
    args = _arguments()
    console = Console(width=240)
    if args.plot:
        from experiments.plots import kept_against_clean  # noqa: PLC0415 - matplotlib is needed for a figure alone

        kept_against_clean([json.loads(line) for line in args.out.read_text().splitlines()], args.plot)
        return
    torch.set_num_threads(args.threads)
    bench = open_bench(args)
    fields = {"language": args.language, "strict": args.strict, **json.loads(args.recipe)}
    console.print(f"{len(bench.train)} prompts to train on, {len(bench.unseen)} unseen x {args.draws} draws")
    recipe = GuardRecipe.from_dict(fields)
    before = measure(bench, Bare(load_base(args.model, "auto", "auto")), recipe)
    console.print({name: one for name, one in before.items() if name not in ("clean_by_prompt", "by_question")})
    runs: list[dict[str, Any]] = []
    used = budgets_of(args.out, args.language)
    baselines = Baselines(bench)
    for name, more in _plans(args):
        for seed in map(int, args.seeds.split(",")):
            recipe = GuardRecipe.from_dict({**fields, **more, "seed": seed})
            most = Budget(recipe.answers * recipe.iterations, recipe.steps * recipe.iterations)
            if name in METHODS:
                trained = baselines.train(name, recipe, used.get(seed, most))
            else:
                trained = train_tlpo(bench, recipe, console)
            run = _run(bench, name, recipe, before, trained)
            if name == "tlpo":
                used[seed] = Budget.of(run)
            runs.append(run)
            with args.out.open("a") as file:
                file.write(json.dumps(run, ensure_ascii=False) + "\n")
            report(console, runs)


def budgets_of(out: Path, language: str) -> dict[int, Budget]:
    """Return by seed what the runs of TLPO that are in a file used."""
    runs = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    kept = [run for run in runs if run["method"] == "tlpo" and run["recipe"]["language"] == language]
    return {run["seed"]: Budget.of(run) for run in kept}


def _run(
    bench: Bench, name: str, recipe: GuardRecipe, before: dict[str, Any], trained: tuple[Any, dict[str, Any]]
) -> dict[str, Any]:
    """Measure what was trained."""
    model, cost = trained
    after = measure(bench, model.eval(), recipe)
    facts = {"method": name, "seed": recipe.seed, "recipe": recipe.to_dict(), "cost": cost}
    return {**facts, "before": before, "after": after, "gain": gain(before, after, recipe.seed)}


def _plans(args: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    methods: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in filter(None, args.methods.split(","))]
    return methods + [(name, json.loads(fields)) for name, _, fields in (one.partition("=") for one in args.vary)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="TLPO: consistency before and after, and what was kept.")
    parser.add_argument("--model", help="a model's folder")
    parser.add_argument("--lcb", type=Path, help="the Language Confusion Benchmark's folder, with test_sets/")
    parser.add_argument("--language", default="ko", choices=sorted(set(FRAMES) - {"en"}))
    parser.add_argument("--strict", action="store_true", help="Latin letters are a fault too")
    parser.add_argument("--methods", default="tlpo", help=f"tlpo, {', '.join(METHODS)}")
    parser.add_argument("--vary", action="append", default=[], help="an ablation: NAME=JSON fields of the recipe")
    parser.add_argument("--recipe", default="{}", help="JSON fields of the recipe for all runs")
    parser.add_argument("--seeds", default="0", help="training seeds, with commas between")
    parser.add_argument("--prompts", type=int, default=100, help="unseen prompts, at most")
    parser.add_argument("--draws", type=int, default=6, help="answers to each unseen prompt")
    parser.add_argument("--batch", type=int, default=64, help="answers decoded at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("tlpo.jsonl"))
    parser.add_argument("--plot", type=Path, help="draw what --out holds into this svg, and do nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    main()
