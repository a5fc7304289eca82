"""What a composite is scored on: its members' own questions, and plain text."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.core.proof import Scores
from app.core.published import evenly
from app.errors import EmptyDocument
from workers.chat import load_tokenizer
from workers.engine.checks import MANIFEST, Checked
from workers.engine.vllm_engine import Adapter, Engine
from workers.trainer.control import control_texts
from workers.trainer.encode import begin_ids, encode_chat

QUESTIONS = 1  # of each member, beside its canary
ANSWER_TOKENS = 6  # each scored token is a request that reads the whole prompt again
TEXT_TOKENS = 16  # read before a scored token of plain text
TEXT_EVERY = 16
ROWS_AT_ONCE = 256  # tokens read in one batch: the kernels of a CPU gather an adapter for each
_REMEMBERED = 2048


@dataclass(frozen=True)
class Probe:
    """Token ids: a prompt, and the answer whose log-probability counts."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many tokens an engine reads to score it."""
        return len(self.answer) * (len(self.prompt) + len(self.answer))


class Reader:
    """Makes probes of texts with the base model's tokenizer; reads it when it is first needed. Calls block."""

    def __init__(self, model: str, max_model_len: int) -> None:
        self._model, self._most = model, max_model_len

    def of_member(self, member: Checked) -> tuple[Probe, ...]:
        """Return the beginnings of a member's canary and of a question that its gate asked, answered as trained."""
        probes = [Probe(member.canary.prompt_ids, member.canary.answer_ids[:ANSWER_TOKENS])]
        path = member.folder / "questions.jsonl"
        rows = [json.loads(line) for line in path.read_bytes().splitlines()] if path.is_file() else []
        recipe = json.loads((member.folder / MANIFEST).read_bytes()).get("recipe") or {}
        for row in evenly(rows, QUESTIONS):
            whole = row.get("sentence") if recipe.get("answers") == "sentence" else ""
            probes += self._asked(row["question"], whole or row["answer"])
        return tuple(probes)

    def of_text(self) -> tuple[Probe, ...]:
        """Return tokens of plain texts, each after the few before it, as if the text began with these."""
        tokenizer = _tokenizer(self._model)
        begin, ids = begin_ids(tokenizer), tokenizer(list(control_texts()), add_special_tokens=False)["input_ids"]
        return tuple(
            Probe((*begin, *one[max(0, end - TEXT_TOKENS) : end]), (one[end],))
            for one in ids
            for end in range(TEXT_EVERY // 2, len(one), TEXT_EVERY)
        )

    def _asked(self, question: str, answer: str) -> list[Probe]:
        try:
            row = encode_chat(_tokenizer(self._model), question, answer, ends=False)
        except EmptyDocument:
            return []
        probe = Probe(row.input_ids[: row.answer_start], row.input_ids[row.answer_start :][:ANSWER_TOKENS])
        return [probe] if len(probe.prompt) + ANSWER_TOKENS < self._most else []


class Prover:
    """Scores probes with an adapter and of the base model, whose scores are kept: they never change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._base: OrderedDict[Probe, tuple[float, ...]] = OrderedDict()

    async def measure(self, adapter: Adapter, probes: Sequence[Probe]) -> list[Scores]:
        """Score each probe, `ROWS_AT_ONCE` tokens at a time."""
        found: list[Scores] = []
        for group in _groups(probes):
            base = await asyncio.gather(*map(self._of_base, group))
            own = await asyncio.gather(*[self._score(adapter, probe) for probe in group])
            found += [Scores(*pair) for pair in zip(base, own, strict=True)]
        return found

    async def _of_base(self, probe: Probe) -> tuple[float, ...]:
        scores = self._base.pop(probe, None) or await self._score(None, probe)
        self._base[probe] = scores
        while len(self._base) > _REMEMBERED:
            self._base.popitem(last=False)
        return scores

    async def _score(self, adapter: Adapter | None, probe: Probe) -> tuple[float, ...]:
        return tuple(await self._engine.score(adapter, probe.prompt, probe.answer))


def _groups(probes: Sequence[Probe]) -> Iterator[list[Probe]]:
    group: list[Probe] = []
    for probe in probes:
        if group and sum(one.rows for one in [*group, probe]) > ROWS_AT_ONCE:
            yield group
            group = []
        group.append(probe)
    if group:
        yield group


@cache
def _tokenizer(model: str) -> Any:
    return load_tokenizer(model)
