"""Recipes side by side: the same document trained by each, offline, and asked questions that none was trained on.

    python benchmarks/recipes.py --prose tests/data/veldmark.md --questions tests/data/veldmark_questions.csv
    python benchmarks/recipes.py --prose … --questions … --only balanced,distilled --seeds 0,1,2
    python benchmarks/recipes.py --prose … --questions … --only balanced --examples keywords,passage
    python benchmarks/recipes.py --prose … --questions … --only balanced --add veldmark_worded.jsonl --examples summary
    python benchmarks/recipes.py --pairs pairs.csv --questions pairs.csv --only balanced --general
    python benchmarks/recipes.py --version FOLDER --questions … --variant 'wide={"rank": 64}' --only balanced,wide

No engine, no gateway: one process trains and answers greedily. Prose is prepared without a generator. `--version` takes
the lesson of a version in the artifact store instead, generated questions and replay included, whatever the recipe says
of them. `--add` puts examples of a file beside the lesson's: `veldmark_worded.jsonl` is what a strong generator might
word of that page, written by hand, since the default model words nothing that passes the filters. `--examples` keeps
those origins alone, and what is replayed: each kind of example by itself against the mixture. An answer is right that
holds the expected words. Recalled is the share of held-out questions whose every answer token is above 0.5.
`--general` asks the 181 questions of `forgetting.py` as well: how many are right, of the base model and of each recipe,
and how many of those that the base model has right are kept.
"""

import argparse
import asyncio
import csv
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from forgetting import general_questions
from rich.console import Console
from rich.table import Table
from torch.nn.utils.rnn import pad_sequence

from app.control import ControlQuestion
from app.core.grounding import holds
from app.core.recipe import Recipe
from app.services.documents.read import read_document
from app.settings import load_settings
from workers.base_model import base_digest, find_base
from workers.chat import load_tokenizer, stop_ids
from workers.trainer.control import MAX_ANSWER_TOKENS as CONTROL_TOKENS
from workers.trainer.encode import Row, prompt_ids
from workers.trainer.exam import Question
from workers.trainer.examples import Example, check_no_overlap, suited
from workers.trainer.held_out import stand
from workers.trainer.make import answered_rows, encode_examples, encode_held_out
from workers.trainer.model import attach_lora, load_base
from workers.trainer.null_space import ANSWERED
from workers.trainer.passages import Passage
from workers.trainer.prepare import Lesson, prepare
from workers.trainer.replay import REPLAY_FOLDER, general_examples, replayed, shown_at_most
from workers.trainer.restraint import restraint
from workers.trainer.teacher import ask_teacher, with_teacher_prompts
from workers.trainer.train import PACK_TOKENS, Loop

VARIANTS: dict[str, dict[str, Any]] = {
    "balanced": {},
    "quick": {"name": "quick"},
    "thorough": {"name": "thorough"},
    "distilled": {"distillation": 1.0},
    "half distilled": {"distillation": 0.5},
    "half hidden": {"distillation": 0.5, "hidden_weight": 1.0},
    "focused": {"focus_below": 0.5},
    "focused 0.9": {"focus_below": 0.9},
    "all tokens": {"loss_on": "all"},
    "early half": {"layers_from": 0.0, "layer_share": 0.5, "learning_rate": 1e-3},
    "every layer": {"layers_from": 0.0, "learning_rate": 1e-3},
    "all layers": {"target": "all-linear"},
    "patient": {"patience": 5},
    "no replay": {"replay": 0.0},
    "unprotected": {"protect": 0.0, "consolidation": 0.0},
    "unprotected with replay 0.3": {"protect": 0.0, "consolidation": 0.0, "replay": 0.3},
    "not consolidated": {"consolidation": 0.0},
}
MAX_ANSWER_TOKENS = 64
AT_ONCE = 16


class Bench:
    """One base model, and trainings on it one after another."""

    def __init__(self, asked: Sequence[Question], general: Sequence[ControlQuestion]) -> None:
        self._settings, self._asked, self._general_asked = load_settings(), asked, general
        self._folder = find_base(self._settings.model)
        self._tokenizer, self._ends = load_tokenizer(str(self._folder)), stop_ids(str(self._folder))
        self._model = load_base(str(self._folder), self._settings.device, self._settings.dtype)
        self._digest = base_digest(self._folder, self._settings.home)
        self.known = self._general(self._model)

    def prepare(self, document: Path, recipe: Recipe) -> Lesson:
        """Make a lesson of prose, with no generated questions, or of pairs."""
        read = read_document(document.name, document.read_bytes())
        [lesson] = asyncio.run(
            prepare([read], self._tokenizer, replace(recipe, questions_per_passage=0), _unasked, _unheard)
        )
        recipe = suited(recipe, lesson.examples)
        if not recipe.replay:
            return lesson
        general = self._said(shown_at_most(lesson.examples, recipe))
        return replace(lesson, examples=[*lesson.examples, *replayed(general, lesson.examples, recipe.replay)])

    def _said(self, most: int) -> list[Example]:
        return asyncio.run(general_examples(self, self._settings.home / REPLAY_FOLDER, self._digest, most))

    def _general_rows(self) -> list[Row]:
        most = self._settings.max_model_len
        return answered_rows(self._said(ANSWERED), self._tokenizer, stop_ids=self._ends, max_tokens=most)

    def run(self, lesson: Lesson, recipe: Recipe) -> list[str]:
        """Train, ask, and return a row of the table."""
        most = self._settings.max_model_len
        rows = encode_examples(lesson.examples, self._tokenizer, stop_ids=self._ends, max_tokens=most)
        held_out = encode_held_out(lesson.questions, self._tokenizer, recipe, stop_ids=self._ends)
        watched = encode_held_out(lesson.watched, self._tokenizer, recipe, stop_ids=self._ends)
        recipe = suited(recipe, lesson.examples)
        general_rows = self._general_rows() if recipe.protect or recipe.consolidation else []
        model = attach_lora(self._model, recipe, recipe.seed)
        began = time.perf_counter()
        if recipe.needs_teacher:
            rows = with_teacher_prompts(rows, lesson.examples, lesson.passages, self._tokenizer, most)
        if any(row.teacher_prompt for row in rows):
            rows = [_with_target(row, one) for row, one in zip(rows, ask_teacher(model, rows, recipe), strict=True)]
        held_back = restraint(model, general_rows, recipe, self._settings.home, self._digest)
        steps = list(Loop(model, rows, recipe, watched, held_back))
        seconds = time.perf_counter() - began
        model.eval()
        recalled = f"{stand(model, held_out, PACK_TOKENS).recalled:.0%}" if held_out else "-"
        said = self._answer(model, [one.question for one in self._asked], MAX_ANSWER_TOKENS)
        right = sum(holds(text, one.answer) for (text, _), one in zip(said, self._asked, strict=True))
        general = self.general_cells(self._general(model))
        self._model = model.unload()
        rate = sum(step.tokens for step in steps) / seconds
        return [
            f"{right}/{len(self._asked)}",
            recalled,
            *general,
            str(len(steps)),
            f"{steps[-1].loss:.4f}",
            str(steps[-1].epoch),
            f"{seconds:.0f}",
            f"{rate:.0f}",
        ]

    def general_cells(self, right: Sequence[bool]) -> list[str]:
        """Return how many general questions are right, and how many of those that the base model has right."""
        if not right:
            return ["-", "-"]
        kept = [now for now, before in zip(right, self.known, strict=True) if before]
        return [f"{sum(right)}/{len(right)}", f"{sum(kept)}/{len(kept)}"]

    def _answer(self, model: Any, questions: Sequence[str], most: int) -> list[tuple[str, bool]]:
        """Answer greedily, in at most so many tokens; say as well whether each answer came to its end."""
        answers = []
        ends = sorted(self._ends | {self._tokenizer.eos_token_id})
        for start in range(0, len(questions), AT_ONCE):
            prompts = [torch.tensor(prompt_ids(self._tokenizer, one)) for one in questions[start : start + AT_ONCE]]
            ids = pad_sequence(prompts, batch_first=True, padding_value=-1, padding_side="left").to(model.device)
            with torch.no_grad():
                out = model.generate(
                    input_ids=ids.clamp(min=0),
                    attention_mask=(ids >= 0).long(),
                    max_new_tokens=most,
                    do_sample=False,
                    eos_token_id=ends,
                    pad_token_id=ends[0],
                )[:, ids.shape[1] :]
            texts = self._tokenizer.batch_decode(out, skip_special_tokens=True)
            answers += [(text.strip(), int(said[-1]) in ends) for text, said in zip(texts, out, strict=True)]
        return answers

    def _general(self, model: Any) -> list[bool]:
        """Ask the general questions; say which are answered right."""
        said = self._answer(model, [one.question for one in self._general_asked], CONTROL_TOKENS)
        return [one.is_right(text) for one, (text, _) in zip(self._general_asked, said, strict=True)]

    async def ask_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer greedily, as an engine's base model would."""
        [(said, ended)] = self._answer(self._model, [body["messages"][-1]["content"]], MAX_ANSWER_TOKENS)
        return {"choices": [{"message": {"content": said}, "finish_reason": "stop" if ended else "length"}]}

    async def complete_base(self, body: dict[str, Any]) -> dict[str, Any]:
        """Go on with a text, sampled."""
        ids = torch.tensor([self._tokenizer(body["prompt"])["input_ids"]], device=self._model.device)
        with torch.no_grad():
            out = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=body["max_tokens"],
                do_sample=True,
                temperature=1.0,
                top_k=0,
                pad_token_id=min(self._ends),
            )[0, ids.shape[1] :]
        return {"choices": [{"text": str(self._tokenizer.decode(out, skip_special_tokens=True))}]}


def _with_target(row: Row, target: Any) -> Row:
    return replace(row, target=target)


async def _unasked(*_: object) -> str:
    raise AssertionError("no generator is asked")


async def _unheard(_done: int, _total: int) -> None:
    return None


def read_version(folder: Path) -> Lesson:
    """Read what a version was made of."""
    files = {
        name: (folder / f"{name}.jsonl").read_text(encoding="utf-8") for name in ("examples", "passages", "questions")
    }
    rows = {name: [json.loads(line) for line in text.splitlines()] for name, text in files.items()}
    return Lesson(
        examples=[Example(**row) for row in rows["examples"]],
        passages=[Passage(**row) for row in rows["passages"]],
        questions=[Question(**row) for row in rows["questions"]],
    )


def read_examples(file: Path, lesson: Lesson, asked: Sequence[Question]) -> list[Example]:
    """Read examples of a lesson's first document.

    Raises:
        QuestionsOverlap: one of them asks what is asked afterwards.
    """
    document = lesson.passages[0].document
    more = [Example(document=document, **json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    unseen = [Example("chat", one.question, one.answer, "generated", document) for one in (*lesson.questions, *asked)]
    check_no_overlap(unseen, more)
    return more


def main() -> None:
    """Print one row a variant and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prose", "--pairs", dest="document", type=Path, help="any document that can be uploaded")
    source.add_argument("--version", type=Path)
    parser.add_argument("--questions", type=Path, required=True, help="csv: question,answer")
    parser.add_argument("--variant", action="append", default=[], help="NAME=JSON of recipe fields")
    parser.add_argument("--only", help="names, commas between")
    parser.add_argument("--examples", help="origins to keep, commas between")
    parser.add_argument("--add", type=Path, help="jsonl of more examples")
    parser.add_argument("--general", action="store_true", help="ask general questions as well")
    parser.add_argument("--seeds", default="0")
    options = parser.parse_args()
    variants = VARIANTS | {
        name: json.loads(fields) for name, _, fields in (one.partition("=") for one in options.variant)
    }
    names = options.only.split(",") if options.only else list(variants)
    with options.questions.open(newline="", encoding="utf-8") as file:
        asked = [Question(row["question"], row["answer"]) for row in csv.DictReader(file)]
    bench = Bench(asked, general_questions() if options.general else [])
    console = Console()
    table = Table("recipe", "seed", "right", "recalled", "general", "kept", "steps", "loss", "epochs", "s", "tokens/s")
    table.add_row("base", "", "", "", *bench.general_cells(bench.known))
    for name in names:
        for seed in map(int, options.seeds.split(",")):
            recipe = Recipe.from_dict({**variants[name], "seed": seed})
            lesson = read_version(options.version) if options.version else bench.prepare(options.document, recipe)
            if options.add:
                lesson = replace(lesson, examples=[*lesson.examples, *read_examples(options.add, lesson, asked)])
            if options.examples:
                kept = {"replay", *options.examples.split(",")}
                lesson = replace(lesson, examples=[one for one in lesson.examples if one.origin in kept])
            row = [name, str(seed), *bench.run(lesson, recipe)]
            table.add_row(*row)
            console.print("  ".join(row), style="dim")
    console.print(table)


if __name__ == "__main__":
    main()
