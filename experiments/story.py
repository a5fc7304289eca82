"""A memory of English documents, asked in another language: what it does to the answers, and what a guard mends.

    python -m experiments.story --document tests/data/kestrel.md --language ko --out story.jsonl --plot story.svg

On a running gateway: makes a memory of the document and a guard on top of it, and asks the base model, the memory, and
the memory with its guard: prompts in the language on which no guard was trained (`--draws` answers each at temperature
0.6; clean by `/v1/languages/check`), and the questions of `<document>_questions.csv`, greedily. The base of the gateway
should answer in that language, Gemma 3 say. Intervals are of 95 %, by bootstrap over the prompts. `--memory` takes one
that is there, with its guard if it has one. The gateway is found as the command line finds it.
"""

import argparse
import asyncio
import csv
import json
from collections.abc import Awaitable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from app.cli.gateway import GatewayError, whereabouts
from app.cli.prompts import read_prompts
from app.core.grounding import holds
from app.core.lifecycle import TERMINAL
from app.core.names import BASE
from app.languages.metrics import bootstrap
from workers.languages.prompts import hold_out, load_prompts, trainable

CONCURRENCY, ANSWER_TOKENS = 16, 100


class Asker:
    """Asks a gateway."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http, self._limit = http, asyncio.Semaphore(CONCURRENCY)

    async def call(self, path: str, body: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Get, or post a body; a refusal ends the experiment with its sentence."""
        reply = await (self._http.post(path, json=body, **more) if body or more else self._http.get(path))
        fields: dict[str, Any] = reply.json()
        if reply.is_error:
            raise SystemExit(fields["error"]["message"])
        return fields

    async def answer(self, who: dict[str, Any], question: str, temperature: float) -> str:
        """Return one answer."""
        messages = [{"role": "user", "content": question}]
        body = {**who, "messages": messages, "temperature": temperature, "max_tokens": ANSWER_TOKENS}
        async with self._limit:
            reply = await self.call("/v1/chat/completions", body)
        return str(reply["choices"][0]["message"]["content"] or "")

    async def remembered(self, name: str, content: bytes) -> str:
        """Make a memory; return its id when it serves."""
        data = {"name": Path(name).stem, "options": json.dumps({"allow_duplicate": True})}
        made = await self.call("/v1/memories", files={"file": (name, content)}, data=data)
        await self.ready(f"/v1/memories/{made['id']}")
        return str(made["id"])

    async def guarded(self, memory_id: str, language: str, strict: bool) -> None:
        """Have a guard on top of a memory that serves: one that is there, or a new one."""
        memory = await self.call(f"/v1/memories/{memory_id}")
        for guard in memory["languages"]:
            if (guard["language"], guard["status"]) == (language, "ready"):
                return
        body = {"language": language, "memory": memory["id"], "recipe": {"strict": strict}}
        made = await self.call("/v1/languages", body)
        print(json.dumps(await self.ready(f"/v1/languages/{made['id']}")), flush=True)

    async def ready(self, path: str) -> dict[str, Any]:
        """Wait until a memory or a guard is ready; return it."""
        while True:
            one = await self.call(path)
            if one["status"] in TERMINAL:
                break
            await asyncio.sleep(2)
        if one["status"] != "ready":
            raise SystemExit(f"{path} is {one['status']}: {one['error']['message']}")
        return one


def interval(groups: Sequence[Sequence[bool]]) -> dict[str, float]:
    """Return the share of what is true, and its 95 % interval by bootstrap over the groups."""
    low, high = bootstrap(groups, fmean, seed=0) or (0.0, 0.0)
    every = [one for group in groups for one in group]
    return {"share": fmean(every), "low": low, "high": high, "asked": len(every)}


async def examine(
    asker: Asker, who: dict[str, Any], options: argparse.Namespace, prompts: Sequence[str]
) -> dict[str, Any]:
    """Ask one way of answering everything."""

    async def clean(prompt: str) -> tuple[bool, str]:
        said = await asker.answer(who, prompt, 0.6)
        asked = {"text": said, "language": options.language, "strict": options.strict, "prompt": prompt}
        return bool((await asker.call("/v1/languages/check", asked))["clean"]), said

    async def right(row: dict[str, str]) -> bool:
        return holds(await asker.answer(who, row["question"], 0), row["answer"])

    with options.document.with_name(f"{options.document.stem}_questions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = await _all(_all(clean(prompt) for _ in range(options.draws)) for prompt in prompts)
    known = await _all(map(right, rows))
    return {
        "clean": interval([[fine for fine, _ in each] for each in kept]),
        "empty": fmean(not said.strip() for each in kept for _, said in each),
        "characters": fmean(len(said) for each in kept for _, said in each),
        "right": interval([[one] for one in known]),
    }


async def _all(work: Any) -> list[Any]:
    tasks: list[Awaitable[Any]] = list(work)
    return list(await asyncio.gather(*tasks))


async def run(options: argparse.Namespace, url: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    """Make what is missing, and ask the three."""
    content = await asyncio.to_thread(options.document.read_bytes)
    own = read_prompts(options.prompts) if options.prompts else hold_out(load_prompts(options.language))[1]
    prompts = trainable(own, options.language)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600) as http:
        asker = Asker(http)
        memory_id = options.memory or await asker.remembered(options.document.name, content)
        await asker.guarded(memory_id, options.language, options.strict)
        ways = {
            "base model": {"model": BASE},
            "with the memory": {"model": memory_id},
            f"with memory and {options.language} guard": {
                "model": memory_id,
                "memory": {"language": options.language},
            },
        }
        rows = []
        for who, asked in ways.items():
            rows.append({"who": who, **await examine(asker, asked, options, prompts)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def table_of(rows: Sequence[dict[str, Any]]) -> Table:
    """Lay out one line a way of answering."""
    table = Table("who", "clean, %", "questions right, %", "empty, %", "characters")
    for row in rows:
        shares = [
            f"{100 * one['share']:.1f} [{100 * one['low']:.1f}, {100 * one['high']:.1f}] of {one['asked']}"
            for one in (row["clean"], row["right"])
        ]
        table.add_row(row["who"], *shares, f"{100 * row['empty']:.1f}", f"{row['characters']:.0f}")
    return table


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--document", type=Path, default=Path("tests/data/kestrel.md"))
    parser.add_argument("--language", default="ko")
    parser.add_argument("--strict", action="store_true", help="count Latin letters as a fault")
    parser.add_argument("--memory", help="id of one that is there")
    parser.add_argument("--prompts", type=Path, help="in place of the shipped ones that are held out")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path, help="an svg; with --from alone, of rows that are there")
    parser.add_argument("--from", type=Path, dest="kept", help="rows of an earlier --out")
    options = parser.parse_args()
    if options.kept:
        rows = [json.loads(line) for line in options.kept.read_text().splitlines()]
    else:
        try:
            url, headers = whereabouts()
        except GatewayError as error:
            parser.error(str(error))
        rows = asyncio.run(run(options, url, headers))
    if options.out:
        options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if options.plot:
        from experiments.plots import story  # noqa: PLC0415 - matplotlib is needed for a figure alone

        story(rows, f"answers that keep to {options.language}", options.plot)
    Console().print(table_of(rows))


if __name__ == "__main__":
    main()
