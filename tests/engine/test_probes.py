"""What a composite is scored on, and how often an engine is asked for it."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.core.canary import Canary
from app.core.names import AdapterName
from tests.engine.fakes import FakeEngine, change_json, write_adapter
from tests.trainer.tiny import byte_tokenizer
from workers.engine.checks import Checked
from workers.engine.probes import ANSWER_TOKENS, ROWS_AT_ONCE, Probe, Prover, Reader

CANARY = Canary((1,), (2, 3), (-0.1, -0.1), (-3.0, -3.0))


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    return Reader(str(tmp_path / "base"), 512)


def a_member(root: Path, rows: list[dict[str, str]], answers: str = "span") -> Checked:
    name = write_adapter(root)
    folder = root / name.folder
    change_json(folder / "manifest.json", recipe={"answers": answers})
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Checked(AdapterName.parse(str(name)), folder, CANARY)


def text_of(ids: Sequence[int]) -> str:
    return str(byte_tokenizer().decode(ids))


def test_a_members_probes_are_its_canary_and_a_question_of_its_gate(reader: Reader, tmp_path: Path) -> None:
    rows = [{"question": f"Question {number}?", "answer": f"Answer {number}."} for number in range(10)]
    canary, asked = reader.of_member(a_member(tmp_path, rows))

    assert canary == Probe(CANARY.prompt_ids, CANARY.answer_ids)
    assert "Question 0?" in text_of(asked.prompt)
    assert text_of(asked.answer) == "Answer 0"[:ANSWER_TOKENS]


@pytest.mark.parametrize(("answers", "begins"), [("span", "1815"), ("sentence", "Ada wa")])
def test_a_question_is_answered_as_the_member_was_trained(
    reader: Reader, tmp_path: Path, answers: str, begins: str
) -> None:
    row = {"question": "When was Ada born?", "answer": "1815", "sentence": "Ada was born in 1815."}
    _, asked = reader.of_member(a_member(tmp_path, [row], answers))

    assert text_of(asked.answer) == begins


@pytest.mark.parametrize(
    "rows", [[], [{"question": "x" * 600, "answer": "too long for the engine"}], [{"question": "Why?", "answer": ""}]]
)
def test_what_cannot_be_asked_leaves_the_canary(reader: Reader, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    assert len(reader.of_member(a_member(tmp_path, rows))) == 1


def test_plain_text_is_scored_a_token_at_a_time_after_the_few_before_it(reader: Reader) -> None:
    probes = reader.of_text()

    assert all(len(one.answer) == 1 and one.prompt for one in probes)
    assert text_of(probes[1].prompt + probes[1].answer) == "lighthouse stood "


def test_plain_text_begins_anew_at_every_window_for_a_model_that_wants_a_token_before_any_text(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    byte_tokenizer(chat_template=None).save_pretrained(tmp_path)  # served with the plain template, which has one

    assert {text_of(one.prompt)[:5] for one in Reader(str(tmp_path), 512).of_text()} == {"<bos>"}


async def test_the_base_model_is_asked_once() -> None:
    asked: list[str | None] = []

    class Counting(FakeEngine):
        async def score(self, adapter: Any, prompt: Sequence[int], answer: Sequence[int]) -> list[float]:
            asked.append(adapter and adapter[0])
            return await super().score(adapter, prompt, answer)

    prover, probe = Prover(Counting()), Probe((1,), (2, 3))
    first = await prover.measure(("a", 1, "/a"), [probe])
    await prover.measure(("b", 2, "/b"), [probe])

    assert asked == [None, "a", "b"]
    assert (first[0].loss, first[0].distance) == (-2.5, 2.5)


async def test_no_batch_reads_more_than_a_cpu_can_take() -> None:
    reading, most = 0, 0

    class Measuring(FakeEngine):
        async def score(self, adapter: Any, prompt: Sequence[int], answer: Sequence[int]) -> list[float]:
            nonlocal reading, most
            reading += (rows := Probe(tuple(prompt), tuple(answer)).rows)
            most = max(most, reading)
            await asyncio.sleep(0)
            reading -= rows
            return await super().score(adapter, prompt, answer)

    probes = [Probe(tuple(range(number, number + 19)), (1, 2)) for number in range(20)]
    scores = await Prover(Measuring()).measure(("a", 1, "/a"), probes)

    assert len(scores) == 20
    assert 0 < most <= ROWS_AT_ONCE
