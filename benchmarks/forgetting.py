"""What a memory costs the rest: general questions and instructions, to the base model and to memories.

    python benchmarks/forgetting.py "phone book" veldmark

Asks `control.csv` (facts, sums, instructions) of the base model and of each memory named, greedily, through a running
gateway. An answer is right when it holds one of the expected words. A second share counts only what the base model gets
right: what a memory loses of that was forgotten. The gateway is found as the command line finds it: LOREKEEP_URL and
LOREKEEP_API_KEY, or the admin key under LOREKEEP_HOME.
"""

import argparse
import asyncio
import csv
import re
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from app.cli.gateway import GatewayError, whereabouts

CONTROL = Path(__file__).with_name("control.csv")
AT_ONCE = 8


def is_right(said: str, expected: str) -> bool:
    """Say whether an answer holds one of the expected words, `|` between them; case counts only in capitals."""
    return any(
        re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said, 0 if word.isupper() else re.IGNORECASE)
        for word in expected.split("|")
    )


async def answers(http: httpx.AsyncClient, model: str, questions: list[str]) -> list[str]:
    """Ask one model everything."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def ask(question: str) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 64}
        async with limit:
            reply = await http.post("/v1/chat/completions", json=body)
        reply.raise_for_status()
        return str(reply.json()["choices"][0]["message"]["content"])

    return list(await asyncio.gather(*map(ask, questions)))


async def main() -> None:
    """Print one row a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("memories", nargs="+", help="names or ids")
    parser.add_argument("--show", action="store_true", help="print what each answered")
    options = parser.parse_args()
    try:
        url, headers = whereabouts()
    except GatewayError as error:
        parser.error(str(error))
    with CONTROL.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = sorted({row["kind"] for row in rows})
    table = Table("model", *kinds, "all", "kept of what the base model knows")
    known: list[bool] = []
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600) as http:
        for model in ["base", *options.memories]:
            said = await answers(http, model, [row["question"] for row in rows])
            right = [is_right(one, row["answer"]) for one, row in zip(said, rows, strict=True)]
            known = known or right
            if options.show:
                for row, one, good in zip(rows, said, right, strict=True):
                    print("+" if good else "-", row["question"], "|", one.replace("\n", " ")[:80])
            by_kind = [[good for good, row in zip(right, rows, strict=True) if row["kind"] == kind] for kind in kinds]
            kept = sum(good for good, base in zip(right, known, strict=True) if base)
            cells = [f"{sum(part)}/{len(part)}" for part in by_kind]
            table.add_row(model, *cells, f"{sum(right)}/{len(right)}", f"{kept}/{sum(known)}")
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
