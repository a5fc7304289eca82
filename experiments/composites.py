"""Composites of 1 to 5 memories by every method, offline: what each member still answers, and what the guard would do.

    python experiments/composites.py --books 5 --facts 48 --keep /tmp/books
    python experiments/composites.py --versions FOLDER FOLDER FOLDER --methods cat,ties --out rows.jsonl

`--books` trains so many phone books first, with no name in two of them, and `--keep` keeps them as version folders;
`--versions` takes some from an artifact store. Members come in the order given: row n is of the first n. `alone` is
each member by itself, `cat plain` concatenation without its scale. No engine: one process asks greedily and judges by
the same probes as an engine does. An answer is right that holds the expected words. What is lost, by member and in
plain text, is in nats per token against the base model.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from rich.console import Console
from rich.table import Table

from app.core.composition import Composition
from app.core.grounding import holds
from app.core.names import AdapterName
from app.core.proof import Proof, Scores, judge_composite
from app.core.recipe import Recipe
from app.settings import load_settings
from workers.base_model import base_digest, find_base, sha256
from workers.chat import load_tokenizer, stop_ids
from workers.engine.blend import Blend, blend
from workers.engine.checks import MANIFEST, WEIGHTS, Checked, Limits, check_adapter
from workers.engine.probes import Probe, Reader
from workers.trainer.batches import pack
from workers.trainer.canary import make_canary
from workers.trainer.encode import Row, encode_chat, prompt_ids
from workers.trainer.forward import label_logprobs
from workers.trainer.model import attach_lora, load_base, save_adapter
from workers.trainer.phonebook import phone_book
from workers.trainer.train import Loop

METHODS = ("cat", "cat plain", "linear", "ties", "dare")
MAX_ANSWER_TOKENS = 48


@dataclass(frozen=True)
class Member:
    """One memory: its files, what it is asked, and what an engine would prove it by."""

    checked: Checked
    questions: list[tuple[str, str]]
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class Found:
    """What one composite did."""

    members: int
    method: str
    blend: Blend
    right: list[int]
    proof: Proof

    def row(self, asked: Sequence[int]) -> dict[str, Any]:
        """Return the figures by name."""
        verdict = judge_composite(self.proof)
        shares = [right / count for right, count in zip(self.right, asked, strict=True)]
        return {
            "members": self.members,
            "method": self.method,
            "rank": self.blend.rank,
            "error": round(self.blend.error, 4),
            "right": [f"{right}/{count}" for right, count in zip(self.right, asked, strict=True)],
            "mean": round(sum(shares) / len(shares), 3),
            "lost": self.proof.to_dict()["members"],
            "text": self.proof.to_dict()["text"],
            "guard": "serves" if verdict.passed else f"refuses: {verdict.reason}",
        }


class Bench:
    """One base model, and adapters on it one after another."""

    def __init__(self, most_questions: int) -> None:
        self._settings, self._most = load_settings(), most_questions
        self._folder = find_base(self._settings.model)
        self._tokenizer, self._ends = load_tokenizer(str(self._folder)), stop_ids(str(self._folder))
        self._model = load_base(str(self._folder), self._settings.device, self._settings.dtype)
        self._digest = base_digest(self._folder, self._settings.home)
        self._reader = Reader(str(self._folder), self._settings.max_model_len)
        self._base: dict[Probe, tuple[float, ...]] = {}
        self._rises: dict[AdapterName, float] = {}  # by each member alone

    def train(self, root: Path, books: int, facts: int, recipe: Recipe) -> list[Path]:
        """Train phone books and write them as versions of memories."""
        folders = []
        pairs = phone_book(books * facts, 0)
        for number in range(books):
            own = pairs[number * facts : (number + 1) * facts]
            rows = [encode_chat(self._tokenizer, one.question, one.answer, stop_ids=self._ends) for one in own]
            model = attach_lora(self._model, recipe, recipe.seed)
            for step in Loop(model, rows, recipe):
                last = step
            print(f"book {number + 1}: {last.index} steps, loss {last.loss:.4f}", flush=True)
            asked = [{"question": one.question, "answer": one.answer, "kind": "recall"} for one in own]
            folders.append(self._write(root, number, model, rows, asked))
            self._model = model.unload()
        return folders

    def member(self, folder: Path) -> Member:
        """Read a version."""
        name = AdapterName.parse(json.loads((folder / MANIFEST).read_bytes())["name"])
        checked = check_adapter(name, folder, Limits(512, self._settings.max_model_len, self._digest))
        rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
        every = max(1, len(rows) // self._most)
        asked = [(row["question"], row["answer"]) for row in rows[::every][: self._most]]
        return Member(checked, asked, self._reader.of_member(checked))

    def run(self, members: Sequence[Member], method: str, most_rank: int) -> Found:
        """Build one composite, ask it, and judge it."""
        names = [one.checked.name for one in members]
        kind = method.partition(" ")[0]
        composition = Composition.of(kind, names)
        weights = [math.sqrt(len(names))] * len(names) if method == "cat plain" else composition.weights
        ordered = sorted(members, key=lambda one: str(one.checked.name))
        with tempfile.TemporaryDirectory() as scratch:
            folders = [one.checked.folder for one in ordered]
            blended = blend(folders, composition, weights, most_rank, Path(scratch))  # type: ignore[arg-type]
            model = PeftModel.from_pretrained(self._model, scratch).eval()
        try:
            right = [sum(holds(self._answer(model, q), a) for q, a in one.questions) for one in members]
            proof = Proof(
                [Scores.joined(self._scores(model, one.probes)) for one in members],
                Scores.joined(self._scores(model, self._reader.of_text())),
                max(self._rises.get(name, 0.0) for name in names),
            )
        finally:
            self._model = model.unload()
        if len(names) == 1:
            self._rises[names[0]] = proof.text.loss
        return Found(len(members), method, blended, right, proof)

    @torch.no_grad()
    def _scores(self, model: Any, probes: Sequence[Probe]) -> list[Scores]:
        found = []
        for probe in probes:
            row = Row((*probe.prompt, *probe.answer), len(probe.prompt))
            if probe not in self._base:
                with model.disable_adapter():
                    self._base[probe] = self._logprobs(model, row)
            found.append(Scores(self._base[probe], self._logprobs(model, row)))
        return found

    def _logprobs(self, model: Any, row: Row) -> tuple[float, ...]:
        return tuple(label_logprobs(model, pack([row], model.device)).tolist())

    @torch.no_grad()
    def _answer(self, model: Any, question: str) -> str:
        ids = torch.tensor([prompt_ids(self._tokenizer, question)], device=model.device)
        ends = sorted(self._ends | {self._tokenizer.eos_token_id})
        options = {"max_new_tokens": MAX_ANSWER_TOKENS, "do_sample": False, "eos_token_id": ends}
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pad_token_id=ends[0], **options)
        return str(self._tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))

    def _write(self, root: Path, number: int, model: Any, rows: list[Row], asked: list[dict[str, str]]) -> Path:
        staging = root / f"staging-{number}"
        save_adapter(model, staging)
        digest = sha256(staging / WEIGHTS)
        name = AdapterName("default", f"mem_{number:026d}", 1, digest[:12])
        manifest = {
            "format": 1,
            "name": str(name),
            "tenant": name.tenant,
            "digest": digest,
            "base": {"digest": self._digest, "name": self._folder.name},
            "recipe": {},
            "canary": make_canary(model, rows).to_dict(),
        }
        (staging / MANIFEST).write_text(json.dumps(manifest))
        (staging / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
        folder = root / name.folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        return staging.rename(folder)


def _runs(members: Sequence[Member], methods: Sequence[str]) -> Iterator[tuple[Sequence[Member], str]]:
    for one in members:
        yield [one], "alone"
    for count in range(2, len(members) + 1):
        for method in methods:
            yield members[:count], method


def main() -> None:
    """Print one row a composite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--versions", type=Path, nargs="+", help="folders of versions")
    source.add_argument("--books", type=int, help="phone books to train")
    parser.add_argument("--facts", type=int, default=48, help="pairs in each")
    parser.add_argument("--recipe", default="{}", help="JSON of recipe fields, for --books")
    parser.add_argument("--keep", type=Path, help="where the books are written; an artifact store's root")
    parser.add_argument("--questions", type=int, default=16, help="asked of each member at most")
    parser.add_argument("--max-rank", type=int, default=512, help="compress what is above")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--out", type=Path, help="JSON lines")
    options = parser.parse_args()
    bench, console = Bench(options.questions), Console()
    with tempfile.TemporaryDirectory() as scratch:
        folders = options.versions or bench.train(
            options.keep or Path(scratch), options.books, options.facts, Recipe.from_dict(json.loads(options.recipe))
        )
        members = [bench.member(folder) for folder in folders]
        table = Table("members", "method", "rank", "error", "right", "mean", "lost by member", "text", "guard")
        for some, method in _runs(members, options.methods.split(",")):
            found = bench.run(some, method.replace("alone", "cat"), options.max_rank)
            row = replace(found, method=method).row([len(one.questions) for one in some])
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            lost = " ".join(f"{loss:.2f}" for loss in row["lost"])
            cells = [str(row["members"]), method, str(row["rank"]), str(row["error"]), " ".join(row["right"])]
            cells += [str(row["mean"]), lost, str(row["text"]), row["guard"]]
            table.add_row(*cells)
            console.print("  ".join(cells), style="dim")
    console.print(table)


if __name__ == "__main__":
    main()
