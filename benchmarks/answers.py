"""Share of right answers and ROUGE-L: base model, adapter and passages in the prompt, on a running gateway.

    python benchmarks/answers.py --prose tests/data/veldmark.md tests/data/pellow.md
    python benchmarks/answers.py --paperqa FOLDER --papers 0,1 --given --seeds 0,1
    python benchmarks/answers.py --pairs phonebook_1K.csv phonebook_4K.csv

`--prose` makes a memory of each document and asks the questions of `<name>_questions.csv` beside it
(`question,answer`), on which nothing was trained. `--pairs` uploads pairs (`question,answer`, or PhoneBook's `text`)
and asks the same questions again, base and adapter. `--paperqa` does so with introductions of papers (raw text, or
with `--given` their 40 training questions) and their 30 evaluation questions. No recipe is sent but `--recipe`. Each
result is printed as it comes and, with `--out`, added to a JSONL file; the means come last, with 95 % intervals over
the memories. `--reuse` takes the newest memory of a document where there is one. `--chosen` asks every question once
more without naming a memory, and the shipped control questions, which no memory should answer. `--modes adapter` asks
in that mode alone. The gateway is found as the command line finds it: LOREKEEP_URL and LOREKEEP_API_KEY.
"""

import argparse
import asyncio
import csv
import json
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from rouge_score.rouge_scorer import RougeScorer

from app.cli.gateway import GatewayError, whereabouts
from app.control import control_questions
from app.core.lifecycle import TERMINAL

MODES = ("base", "adapter", "context", "both", "auto")


@dataclass(frozen=True)
class Exam:
    """What to remember, and what to ask of it."""

    name: str
    file: str
    content: bytes
    questions: list[tuple[str, str]]
    modes: tuple[str, ...] = MODES


def prose_exam(document: Path) -> Exam:
    """Read a document and the questions beside it."""
    with document.with_name(f"{document.stem}_questions.csv").open(newline="") as file:
        rows = [(row["question"], row["answer"]) for row in csv.DictReader(file)]
    return Exam(document.stem, document.name, document.read_bytes(), rows)


def pairs_exam(path: Path) -> Exam:
    """Read pairs, which are what is asked as well."""
    with path.open(newline="") as file:
        rows = [_pair(row) for row in csv.DictReader(file)]
    lines = [json.dumps({"question": question, "answer": answer}) for question, answer in rows]
    return Exam(path.stem, f"{path.stem}.jsonl", "\n".join(lines).encode(), rows, modes=("base", "adapter"))


def _pair(row: dict[str, str]) -> tuple[str, str]:
    if "text" not in row:
        return row["question"], row["answer"]
    question, answer = row["text"].removeprefix("Question: ").split(" Answer: ")
    return question, answer


def paper_exam(path: Path, given: bool) -> Exam:
    """Read one paper of PaperQA."""
    paper = json.loads(path.read_text())
    asked = [(row["question"], row["answer"]) for row in paper["eval_qa"]]
    if given:
        lines = [json.dumps({"question": row["question"], "answer": row["answer"]}) for row in paper["train_qa"]]
        return Exam(f"{path.stem} given", f"{path.stem}.jsonl", "\n".join(lines).encode(), asked)
    return Exam(f"{path.stem} raw", f"{path.stem}.md", paper["introduction"].encode(), asked)


async def remember(http: httpx.AsyncClient, exam: Exam, recipe: dict[str, Any]) -> dict[str, Any]:
    """Upload, and wait until the memory is over."""
    name = f"{exam.name} {time.time_ns() % 10**6}"
    options = json.dumps({"allow_duplicate": True} | ({"recipe": recipe} if recipe else {}))
    reply = await http.post(
        "/v1/memories", files={"file": (exam.file, exam.content)}, data={"name": name, "options": options}
    )
    reply.raise_for_status()
    memory: dict[str, Any] = reply.json()
    while memory["status"] not in TERMINAL:
        await asyncio.sleep(1)
        memory = (await http.get(f"/v1/memories/{memory['id']}")).json()
    return memory


async def newest(http: httpx.AsyncClient, exam: Exam) -> dict[str, Any] | None:
    """Return the newest memory of a document that serves."""
    page = (await http.get("/v1/memories", params={"limit": 100})).json()["data"]
    return next((one for one in page if one["name"].startswith(f"{exam.name} ") and one["status"] == "ready"), None)


async def ask(http: httpx.AsyncClient, memory_id: str, mode: str, question: str) -> str:
    """Ask one question in one mode; no passage found is an empty answer."""
    if mode == "base":
        body = {
            "model": "base",
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 96,
        }
        reply = await http.post("/v1/chat/completions", json=body)
        return str(reply.json()["choices"][0]["message"]["content"])
    body = {"question": question, "memories": [memory_id], "mode": mode, "max_tokens": 96}
    reply = await http.post("/v1/query", json=body)
    return str(reply.json().get("answer", ""))


def contains(said: str, expected: str) -> bool:
    """Say whether the expected words occur in an answer, as words and in order."""
    words = " ".join("".join(c if c.isalnum() else " " for c in said.lower()).split())
    wanted = " ".join("".join(c if c.isalnum() else " " for c in expected.lower()).split())
    return f" {wanted} " in f" {words} "


async def examine(
    http: httpx.AsyncClient, exam: Exam, recipe: dict[str, Any], *, modes: list[str], reuse: bool = False
) -> dict[str, Any]:
    """Make one memory, ask it in each mode, and return what came of it."""
    began = time.monotonic()
    memory = (reuse and await newest(http, exam)) or await remember(http, exam, recipe)
    row: dict[str, Any] = {"document": exam.name, "recipe": recipe, "s": round(time.monotonic() - began)}
    row |= {name: memory[name] for name in ("id", "status", "error", "scores")}
    row["predicted"] = (memory["plan"] or {}).get("recall")
    if memory["status"] != "ready":
        return row
    rouge = RougeScorer(["rougeL"], use_stemmer=True)
    limit = asyncio.Semaphore(8)

    async def one(mode: str, question: str) -> str:
        async with limit:
            return await ask(http, memory["id"], mode, question)

    for mode in (mode for mode in exam.modes if mode in modes):
        said = await asyncio.gather(*[one(mode, question) for question, _ in exam.questions])
        pairs = list(zip(said, [answer for _, answer in exam.questions], strict=True))
        right = sum(contains(*pair) for pair in pairs) / len(pairs)
        score = sum(rouge.score(answer, got)["rougeL"].fmeasure for got, answer in pairs) / len(pairs)
        row[mode] = {"questions": len(pairs), "right": right, "rouge": round(score, 4)}
    return row


async def choose(http: httpx.AsyncClient, exams: list[Exam], rows: list[dict[str, Any]]) -> None:
    """Ask every question of no memory in particular, and what no memory is about; print how that went."""
    limit = asyncio.Semaphore(8)

    async def one(question: str, mode: str) -> dict[str, Any]:
        async with limit:
            body = {"question": question, "memories": "auto", "mode": mode, "max_tokens": 96}
            reply: dict[str, Any] = (await http.post("/v1/query", json=body)).json()
            return reply

    asked = [(row["id"], *pair) for exam, row in zip(exams, rows, strict=True) for pair in exam.questions]
    for mode in ("adapter", "auto"):
        replies = await asyncio.gather(*[one(question, mode) for _, question, _ in asked])
        pairs = list(zip(replies, asked, strict=True))
        found = sum(_used(reply) == [memory_id] for reply, (memory_id, _, _) in pairs)
        right = sum(contains(reply.get("answer", ""), answer) for reply, (_, _, answer) in pairs)
        Console().print(f"chosen, mode {mode}: right memory {found}/{len(asked)}, right answer {right}/{len(asked)}")
    control = [one.question for one in control_questions()]
    silent = sum(not _used(reply) for reply in await asyncio.gather(*[one(each, "adapter") for each in control]))
    Console().print(f"control questions that no memory answered: {silent}/{len(control)}")


def _used(reply: dict[str, Any]) -> list[str]:
    return [used["id"] for used in reply.get("memory", {}).get("used", [])]


def exams_of(options: argparse.Namespace) -> Iterator[Exam]:
    """Yield what the command line names."""
    yield from map(prose_exam, options.prose)
    yield from map(pairs_exam, options.pairs)
    for number in map(int, options.papers.split(",")) if options.paperqa else ():
        yield paper_exam(options.paperqa / f"paper_{number:02}.json", options.given)


def table_of(rows: list[dict[str, Any]]) -> Table:
    """Lay out one line a memory and mode, and the means."""
    table = Table("document", "seed", "mode", "right", "ROUGE-L", "POST to ready, s")
    for row in rows:
        seed = str(row["recipe"].get("seed", 0))
        if row["status"] != "ready":
            table.add_row(row["document"], seed, row["status"], str((row["error"] or {}).get("message")), "", "")
        for mode in (mode for mode in MODES if mode in row):
            asked, right = row[mode]["questions"], row[mode]["right"]
            scores = f"{right * asked:.0f}/{asked}", f"{row[mode]['rouge']:.3f}"
            table.add_row(row["document"], seed, mode, *scores, str(row["s"]))
    table.add_section()
    for mode in MODES:
        having = [row[mode] for row in rows if mode in row]
        if having:
            means = [spread([one[score] for one in having]) for score in ("right", "rouge")]
            table.add_row(f"mean of {len(having)}", "", mode, *means, "")
    return table


def spread(values: list[float]) -> str:
    """Return a mean with its 95 % bootstrap interval."""
    rng = random.Random(0)
    means = sorted(statistics.fmean(rng.choices(values, k=len(values))) for _ in range(2000))
    return f"{statistics.fmean(values):.3f} [{means[50]:.3f}, {means[1949]:.3f}]"


async def run(options: argparse.Namespace, url: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    """Make and ask one memory after another."""
    rows = []
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600) as http:
        for exam in exams_of(options):
            for seed in map(int, options.seeds.split(",")):
                recipe = options.recipe | ({"seed": seed} if seed else {})
                rows.append(await examine(http, exam, recipe, modes=options.modes.split(","), reuse=options.reuse))
                Console().print(json.dumps({**rows[-1], "scores": None, "recipe": recipe}), style="dim")
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
        if options.chosen:
            await choose(http, list(exams_of(options)), rows)
    return rows


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prose", type=Path, nargs="*", default=[])
    parser.add_argument("--pairs", type=Path, nargs="*", default=[])
    parser.add_argument("--paperqa", type=Path)
    parser.add_argument("--papers", default="0")
    parser.add_argument("--given", action="store_true")
    parser.add_argument("--recipe", type=json.loads, default={}, help="JSON of recipe fields")
    parser.add_argument("--seeds", default="0", help="commas between")
    parser.add_argument("--modes", default=",".join(MODES), help="commas between")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--reuse", action="store_true")
    parser.add_argument("--chosen", action="store_true", help="with one seed")
    options = parser.parse_args()
    try:
        url, headers = whereabouts()
    except GatewayError as error:
        parser.error(str(error))
    Console().print(table_of(asyncio.run(run(options, url, headers))))


if __name__ == "__main__":
    main()
