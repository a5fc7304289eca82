"""Does an adapter know? What the first token of an answer tells of it, for its own questions and for others.

    python benchmarks/knowing.py --paperqa FOLDER

Takes the memories `paperqa 00` and so on that `selection.py --paperqa` makes. Every evaluation question is put to its
own memory and to those of two other papers, first token only. A rule is good if it says "knows" of a question's own
memory and not of another's; the area under the curve is the chance that it tells one from the other. Last come the
thresholds that tell best, beside those of `app.core.knowing`. The gateway is found as the command line finds it.
"""

import argparse
import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from selection import Paper, read_papers

from app.cli.gateway import GatewayError, whereabouts
from app.core.knowing import GAIN, SURE, FirstToken, Knowledge, compare
from app.core.names import BASE

CONCURRENCY, OTHERS = 8, 2


async def first_token(http: httpx.AsyncClient, model: str, question: str) -> FirstToken:
    """Ask for one token, and what else it could have been."""
    asked = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 1}
    reply = await http.post(
        "/v1/chat/completions", json={"model": model, **asked, "logprobs": True, "top_logprobs": 20}
    )
    [token] = reply.raise_for_status().json()["choices"][0]["logprobs"]["content"]
    return FirstToken({one["token"]: one["logprob"] for one in token["top_logprobs"]})


async def look(http: httpx.AsyncClient, papers: Sequence[Paper]) -> tuple[list[Knowledge], list[Knowledge]]:
    """Return what is told of own memories, and of others."""
    limit = asyncio.Semaphore(CONCURRENCY)

    async def one(question: str, paper: Paper) -> tuple[Knowledge, list[Knowledge]]:
        async with limit:
            base = await first_token(http, BASE, question)
            own = await first_token(http, paper.name, question)
            others = [papers[(paper.number + 1 + n) % len(papers)] for n in range(OTHERS)]
            said = [await first_token(http, other.name, question) for other in others]
        return compare(own, base), [compare(each, base) for each in said]

    found = await asyncio.gather(*(one(question, paper) for paper in papers for question, _ in paper.asked))
    return [own for own, _ in found], [each for _, others in found for each in others]


def area(own: Sequence[float], others: Sequence[float]) -> float:
    """Return the chance, 0-1, that an own value is above another's; a tie counts half."""
    pairs = [(mine > other) + (mine == other) / 2 for mine in own for other in others]
    return math.fsum(pairs) / len(pairs)


def told(own: Sequence[Knowledge], others: Sequence[Knowledge], rule: Callable[[Knowledge], bool]) -> tuple[str, float]:
    """Return the two shares that a rule says know, and how much the one is above the other."""
    mine, theirs = (sum(map(rule, each)) / len(each) for each in (own, others))
    return f"{mine:.2f} of own, {theirs:.2f} of others", mine - theirs


def table_of(own: Sequence[Knowledge], others: Sequence[Knowledge]) -> Table:
    """Lay out what each figure tells, and the rules."""
    table = Table("what", "", title=f"{len(own)} questions to their own memory, {len(others)} to another's")
    figures: dict[str, Callable[[Knowledge], float]] = {
        "entropy, low": lambda one: -one.entropy,
        "gain over the base": lambda one: one.gain,
    }
    for name, figure in figures.items():
        table.add_row(f"area under the curve, {name}", f"{area([*map(figure, own)], [*map(figure, others)]):.3f}")
    table.add_row(f"entropy <= {SURE} or gain >= {GAIN} (now)", told(own, others, lambda one: one.knows)[0])
    best: list[tuple[float, str, str]] = []
    for sure in (-1.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
        for gain in (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, math.inf):
            for word, both in (("or", False), ("and", True)):

                def rule(one: Knowledge, sure: float = sure, gain: float = gain, both: bool = both) -> bool:
                    sides = (one.entropy <= sure, one.gain >= gain)
                    return all(sides) if both else any(sides)

                shares, apart = told(own, others, rule)
                best.append((apart, f"entropy <= {sure} {word} gain >= {gain}", shares))
    for _, name, shares in sorted(best, reverse=True)[:5]:
        table.add_row(name, shares)
    return table


async def run(folder: Path, url: str, headers: dict[str, str]) -> Table:
    """Ask everything."""
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600) as http:
        return table_of(*await look(http, read_papers(folder)))


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paperqa", type=Path, required=True)
    options: Any = parser.parse_args()
    try:
        url, headers = whereabouts()
    except GatewayError as error:
        parser.error(str(error))
    Console().print(asyncio.run(run(options.paperqa, url, headers)))


if __name__ == "__main__":
    main()
