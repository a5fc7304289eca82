"""What TLPO's experiments ask and judge: prompts in native frames, answers cut at the next question."""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.languages.detector import Verdict
from app.languages.metrics import Answer
from workers.chat import load_tokenizer, stop_ids
from workers.languages.judge import PolicyJudge
from workers.languages.points import Ids, Prompt, decode
from workers.languages.prompts import load_prompts, trainable

FRAMES = {
    "ar": ("سؤال: {}\nجواب:", "\nسؤال"),
    "de": ("Frage: {}\nAntwort:", "\nFrage"),
    "en": ("Question: {}\nAnswer:", "\nQuestion"),
    "es": ("Pregunta: {}\nRespuesta:", "\nPregunta"),
    "fr": ("Question : {}\nRéponse :", "\nQuestion"),
    "hi": ("प्रश्न: {}\nउत्तर:", "\nप्रश्न"),
    "ja": ("質問: {}\n回答:", "\n質問"),
    "ko": ("질문: {}\n답변:", "\n질문"),
    "ru": ("Вопрос: {}\nОтвет:", "\nВопрос"),
    "zh": ("问题：{}\n回答：", "\n问题"),
}
MOST_PROMPT_TOKENS = 160


@dataclass(frozen=True)
class Framed:
    """Judges an answer up to where it asks the next question."""

    judge: PolicyJudge
    stop: str

    def find(self, text: str, prompt: str) -> int | None:
        """See `Judge`."""
        return self.judge.find(text.partition(self.stop)[0], prompt)

    def classify(self, fragment: str) -> Verdict:
        """See `Judge`."""
        return self.judge.classify(fragment)


@dataclass(frozen=True)
class Bench:
    """A model's tokenizer, frame and prompts; the model itself is loaded anew for each run."""

    args: argparse.Namespace
    tokenizer: Any
    ends: tuple[int, ...]
    train: list[Prompt]
    unseen: list[Prompt]

    def framed(self, text: str, language: str) -> Prompt:
        """Return a prompt in its frame."""
        ids = self.tokenizer(FRAMES[language][0].format(text.strip()), add_special_tokens=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        return Prompt(text, tuple(ids) if bos is None else (bos, *ids))

    def answers(self, prompts: Sequence[Prompt], said: Sequence[Ids], language: str) -> list[Answer]:
        """Return answers as texts, each cut at the next question."""
        made = []
        for prompt, ids in zip(prompts, said, strict=True):
            text, found, _ = decode(self.tokenizer, ids).partition(FRAMES[language][1])
            made.append(Answer(text, prompt.text, bool(found) or ids[-1:] == self.ends[:1] or ids[-1] in self.ends))
        return made


def open_bench(args: argparse.Namespace) -> Bench:
    """Read tokenizer and prompts."""
    tokenizer = load_tokenizer(args.model)
    ends = tuple(stop_ids(args.model) | {tokenizer.eos_token_id})
    bench = Bench(args, tokenizer, ends, [], [])
    texts = {row["prompt"]: None for path in _lcb_files(args.lcb, args.language) for row in _rows(path)}
    framed = [bench.framed(text, args.language) for text in trainable(texts, args.language)]
    short = [prompt for prompt in framed if len(prompt.ids) <= MOST_PROMPT_TOKENS]
    train = [bench.framed(text, args.language) for text in load_prompts(args.language) if text not in texts]
    return replace(bench, train=train, unseen=short[: args.prompts])


def _lcb_files(folder: Path, language: str) -> list[Path]:
    found = sorted((folder / "test_sets" / "monolingual").glob(f"*/{language}.csv"))
    if not found:
        raise SystemExit(f"{folder} holds no monolingual prompts for {language}.")
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Bare:
    """A base model without a LoRA, where one with a LoRA is expected."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._model(*args, **named)

    def get_base_model(self) -> Any:
        """Return the model, as PEFT does."""
        return self._model
