"""Share of right answers and ROUGE-L: base model, adapter and passages in the prompt, on a running gateway.

    python benchmarks/answers.py --prose handbook.md --questions handbook.csv
    python benchmarks/answers.py --paperqa FOLDER --papers 0,1 --given
    python benchmarks/answers.py --pairs phonebook_1K.csv

`--prose` makes a memory of a document and asks the questions of a csv (`question,answer`) that it was not trained on.
`--pairs` uploads pairs (`question,answer`, or PhoneBook's `text`) and asks the same questions again, base and adapter.
`--paperqa` does so with introductions of papers (raw text, or with `--given` their 40 training questions) and their
30 evaluation questions. The gateway is found as the command line finds it: LOREKEEP_URL and LOREKEEP_API_KEY.
"""

import argparse
import asyncio
import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from rouge_score.rouge_scorer import RougeScorer

from app.cli.gateway import GatewayError, whereabouts

MODES = ("base", "adapter", "context", "both")
OVER = {"ready", "failed", "rejected", "cancelled"}


@dataclass(frozen=True)
class Exam:
    """What to remember, and what to ask of it."""

    name: str
    file: str
    content: bytes
    questions: list[tuple[str, str]]
    modes: tuple[str, ...] = MODES


def prose_exam(document: Path, questions: Path) -> Exam:
    """Read a document and its questions."""
    with questions.open(newline="") as file:
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


async def remember(http: httpx.AsyncClient, exam: Exam) -> dict[str, Any]:
    """Upload, and wait until the memory is over."""
    name = f"{exam.name} {time.time_ns() % 10**6}"
    options = json.dumps({"allow_duplicate": True})
    reply = await http.post(
        "/v1/memories", files={"file": (exam.file, exam.content)}, data={"name": name, "options": options}
    )
    reply.raise_for_status()
    memory: dict[str, Any] = reply.json()
    while memory["status"] not in OVER:
        await asyncio.sleep(1)
        memory = (await http.get(f"/v1/memories/{memory['id']}")).json()
    return memory


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


async def examine(http: httpx.AsyncClient, exam: Exam, table: Table) -> None:
    """Make one memory, ask in every mode, add a row a mode."""
    began = time.monotonic()
    memory = await remember(http, exam)
    seconds = time.monotonic() - began
    if memory["status"] != "ready":
        table.add_row(exam.name, memory["status"], str((memory["error"] or {}).get("message")), "", f"{seconds:.0f}")
        return
    rouge = RougeScorer(["rougeL"], use_stemmer=True)
    limit = asyncio.Semaphore(8)

    async def one(mode: str, question: str) -> str:
        async with limit:
            return await ask(http, memory["id"], mode, question)

    for mode in exam.modes:
        said = await asyncio.gather(*[one(mode, question) for question, _ in exam.questions])
        pairs = list(zip(said, [answer for _, answer in exam.questions], strict=True))
        right = sum(contains(*pair) for pair in pairs)
        score = sum(rouge.score(answer, got)["rougeL"].fmeasure for got, answer in pairs) / len(pairs)
        table.add_row(exam.name, mode, f"{right}/{len(pairs)}", f"{score:.3f}", f"{seconds:.0f}")


async def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prose", type=Path)
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--paperqa", type=Path)
    parser.add_argument("--papers", default="0")
    parser.add_argument("--given", action="store_true")
    options = parser.parse_args()
    exams = [prose_exam(options.prose, options.questions)] if options.prose else []
    if options.pairs:
        exams.append(pairs_exam(options.pairs))
    if options.paperqa:
        numbers = [int(number) for number in options.papers.split(",")]
        exams += [paper_exam(options.paperqa / f"paper_{number:02}.json", options.given) for number in numbers]
    try:
        url, headers = whereabouts()
    except GatewayError as error:
        parser.error(str(error))
    table = Table("document", "mode", "right", "ROUGE-L", "POST to ready, s")
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600) as http:
        for exam in exams:
            await examine(http, exam, table)
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
