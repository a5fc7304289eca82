"""What a memory costs the rest: general questions, asked of the base model and of memories.

    python benchmarks/forgetting.py "phone book" veldmark
    python benchmarks/forgetting.py veldmark pellow --temperature 0.6 --samples 4

Asks the gate's control set (`app/control.csv`) and, since 44 questions tell no difference of two points,
`general.csv` beside this file, of which no question is replayed: of the base model and of each memory named, greedily,
through a running gateway. The second-last column counts only what the base model gets right (more than half of its
answers): what a memory loses of that was forgotten. The last is what is lost of all, in points, with a 95 % bootstrap
interval over the questions, and below it the mean of the memories. `--samples` asks each question so many times at
`--temperature`: an answer that was the likeliest by a hair, and is not any more, then counts as little as it matters.
The gateway is found as the command line finds it: LOREKEEP_URL and LOREKEEP_API_KEY, or the admin key under
LOREKEEP_HOME.
"""

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Column, Table

from app.cli.gateway import GatewayError, check, whereabouts
from app.control import OTHER, ControlQuestion, control_questions, read_questions
from app.languages.metrics import bootstrap
from workers.trainer.control import MAX_ANSWER_TOKENS

AT_ONCE = 16
GENERAL = Path(__file__).with_name("general.csv")


def general_questions() -> list[ControlQuestion]:
    """Return what is asked: the control set's questions, then this benchmark's."""
    return [one for one in [*control_questions(), *read_questions(GENERAL)] if one.kind != OTHER]


async def answers(
    http: httpx.AsyncClient, model: str, questions: Sequence[str], temperature: float, samples: int
) -> list[list[str]]:
    """Ask one model everything, each question so many times."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def ask(question: str) -> str:
        messages = [{"role": "user", "content": question}]
        body = {"model": model, "messages": messages, "temperature": temperature, "max_tokens": MAX_ANSWER_TOKENS}
        async with limit:
            reply = await http.post("/v1/chat/completions", json=body)
        check(reply)
        return str(reply.json()["choices"][0]["message"]["content"])

    async def several(question: str) -> list[str]:
        return list(await asyncio.gather(*(ask(question) for _ in range(samples))))

    return list(await asyncio.gather(*map(several, questions)))


def lost(base: Sequence[float], now: Sequence[float]) -> str:
    """Return the points lost on average, with the 95 % bootstrap interval over questions."""
    each = [100 * (before - after) for before, after in zip(base, now, strict=True)]
    low, high = bootstrap([[one] for one in each], statistics.fmean, seed=0) or (0.0, 0.0)
    return f"{statistics.fmean(each):.1f} [{low:.1f}, {high:.1f}]"


async def main() -> None:
    """Print one row a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("memories", nargs="+", help="names or ids")
    parser.add_argument("--samples", type=int, default=1, help="answers to each question")
    parser.add_argument("--temperature", type=float, default=0.0, help="0: greedy")
    parser.add_argument("--show", action="store_true", help="print what each answered")
    options = parser.parse_args()
    if options.samples < 1:
        parser.error("--samples: at least 1 answer to each question")
    try:
        await report(options.memories, options.temperature, options.samples, show=options.show)
    except GatewayError as error:
        parser.error(str(error))


async def report(memories: list[str], temperature: float, samples: int, *, show: bool) -> None:
    """Ask all, and print the table.

    Raises:
        GatewayError: there is no gateway, or it has no such memory.
    """
    url, headers = whereabouts()
    asked = general_questions()
    kinds = sorted({one.kind for one in asked})
    table = Table("model", *kinds, "all", "kept", Column("points lost", no_wrap=True))
    shares: list[list[float]] = []  # of right answers, by model and question
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600) as http:
        for name in memories:
            check(await http.get(f"/v1/memories/{name}"))
        for model in ["base", *memories]:
            said = await answers(http, model, [one.question for one in asked], temperature, samples)
            right = [[one.is_right(reply) for reply in replies] for one, replies in zip(asked, said, strict=True)]
            share = [statistics.fmean(one) for one in right]
            shares.append(share)
            if show:
                for one, replies, good in zip(asked, said, share, strict=True):
                    print(f"{good:.0%}", one.question, "|", replies[0].replace("\n", " ")[:80])
            by_kind = [[good for good, one in zip(share, asked, strict=True) if one.kind == kind] for kind in kinds]
            known = [good for good, before in zip(share, shares[0], strict=True) if before > 0.5]
            cells = [f"{sum(part):.0f}/{len(part)}" for part in [*by_kind, share, known]]
            table.add_row(model, *cells, lost(shares[0], share) if model != "base" else "")
    if len(memories) > 1:
        means = [statistics.fmean(of) for of in zip(*shares[1:], strict=True)]
        table.add_row(f"mean of {len(memories)}", *[""] * (len(kinds) + 2), lost(shares[0], means))
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
