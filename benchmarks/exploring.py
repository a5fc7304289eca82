"""What exploring costs a language guard: candidates and their look-ahead, beside plain decoding, on a running engine.

    python benchmarks/exploring.py --language ko [--points 32] [--rounds 3]

A round samples an answer to each of so many shipped prompts, cuts each at a random place, asks for the N most probable
next tokens there, and decodes k tokens after each of them, as training does. Each way of asking is timed for itself;
the last column is how much longer one of its tokens takes than one of a sampled answer in the same round. The
engine is the one that the settings name; the base model answers.
"""

import argparse
import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable
from statistics import median
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from app.core.guard_recipe import GuardRecipe
from app.core.names import BASE
from app.engines.client import EngineClient, engine_http
from app.secret_files import engine_key
from app.settings import load_settings
from workers.base_model import find_base
from workers.chat import load_tokenizer, stop_ids
from workers.languages.engine_policy import EnginePolicy
from workers.languages.prompts import load_prompts
from workers.trainer.encode import prompt_ids

T = TypeVar("T")
WAYS = ("answers", "candidates", "look-ahead")


async def timed(work: Awaitable[T]) -> tuple[T, float]:
    """Return what comes of it, and after how many seconds."""
    began = time.perf_counter()
    done = await work
    return done, time.perf_counter() - began


async def explore(
    policy: EnginePolicy, prompts: list[tuple[int, ...]], k: int, seed: int
) -> dict[str, tuple[int, float]]:
    """Do one round; return the tokens and seconds of each way of asking."""
    rng = random.Random(seed)
    said, answers_s = await timed(policy.answers(prompts))
    prefixes = [
        (*prompt, *ids[: rng.randrange(len(ids))]) for prompt, ids in zip(prompts, said, strict=True) if len(ids) > 1
    ]
    found, candidates_s = await timed(policy.candidates(prefixes))
    paths = [(*prefix, one) for prefix, ids in zip(prefixes, found, strict=True) for one in ids]
    ahead, ahead_s = await timed(policy.greedy(paths, k))
    return {
        "answers": (sum(map(len, said)), answers_s),
        "candidates": (sum(map(len, found)), candidates_s),
        "look-ahead": (sum(map(len, ahead)), ahead_s),
    }


async def run(options: argparse.Namespace) -> Table:
    """Warm the engine up with one round, and time the others."""
    settings, recipe = load_settings(), GuardRecipe(language=options.language)
    folder = str(find_base(settings.model))
    tokenizer, ends = load_tokenizer(folder), stop_ids(folder)
    texts = load_prompts(options.language)
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    async with engine_http(timeout=600) as http:
        client = EngineClient(http, engine_key(settings))
        policy = EnginePolicy(client, settings.this_engine_url, BASE, recipe, ends=ends)
        for turn in range(options.rounds + 1):
            some = random.Random(turn).sample(texts, min(options.points, len(texts)))
            prompts = [prompt_ids(tokenizer, text) for text in some]
            for way, measured in (await explore(policy, prompts, recipe.look_ahead, turn)).items():
                if turn:
                    found[way].append(measured)
    title = f"{options.points} points, N {recipe.candidates}, k {recipe.look_ahead}: medians of {options.rounds} rounds"
    table = Table("asked for", "tokens", "s", "tokens/s", "a token, in sampled ones", title=title)
    plain = [seconds / tokens for tokens, seconds in found["answers"]]
    for way in WAYS:
        each = [seconds / tokens for tokens, seconds in found[way]]
        ratio = median(one / base for one, base in zip(each, plain, strict=True))
        tokens, seconds = (median(column) for column in zip(*found[way], strict=True))
        table.add_row(way, f"{tokens:.0f}", f"{seconds:.2f}", f"{1 / median(each):.0f}", f"{ratio:.2f}")
    return table


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", default="ko")
    parser.add_argument("--points", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    Console().print(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
