"""What the base model and a candidate are asked with passages."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from app.core.context import Shown
from app.core.engines import EngineRecord
from app.core.gate import Scores
from app.engines.client import EngineClient
from app.settings import Settings
from app.stores.engines import EngineStore
from app.stores.redis import connect
from workers.trainer.control import ControlExam
from workers.trainer.evaluate import MAX_WITH_PASSAGES, Examiner
from workers.trainer.exam import MAX_QUESTIONS, Exam, Question

RECORD = EngineRecord("e1", "http://e1", 1, "b" * 64, "cpu", 4, 4, 16, 512, "0", time.time(), time.time())
SHAFTS = [Question(f"How deep is shaft {n}?", f"{n} metres", kind="held_out") for n in range(80)]
PAIRS = [Question(f"Who dug shaft {n}?", f"{n} metres") for n in range(4, 8)]
DEEP = [Shown("Shaft 5 is 5 metres deep."), Shown("The office is painted green.")]


@dataclass
class Reader:
    """An engine whose base model says what it is shown, and refuses what is too long."""

    most_characters: int = 10_000
    knows: str = ""  # the question that is answered right without passages
    models: list[str] = field(default_factory=list)  # that were asked with passages
    recites: dict[str, str] = field(default_factory=dict)  # question -> answer, a token a word, by heart
    chats: list[list[dict[str, str]]] = field(default_factory=list)  # with passages

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if request.url.path == "/v1/completions":
            return httpx.Response(200, json={"choices": [{"logprobs": {"token_logprobs": [-1.0]}}]})
        if request.url.path == "/tokenize":
            return httpx.Response(200, json={"tokens": [1] * len(body["prompt"].split())})
        asked = body["messages"][-1]["content"]
        if sum(len(one["content"]) for one in body["messages"]) > self.most_characters:
            return httpx.Response(400, json={"error": {"message": "too long"}})
        shown = "".join(one["content"] for one in body["messages"] if one["role"] == "system")
        if shown:
            self.models.append(body["model"])
            self.chats.append(body["messages"])
        if asked in self.recites and body["model"] != "base":
            words = self.recites[asked].split()[: body["max_tokens"]]
            return httpx.Response(200, json={"choices": [{"message": {"content": " ".join(words)}}]})
        said = "5 metres" if (DEEP[0].text in shown and "shaft 5?" in asked) or asked == self.knows else "I do not know"
        return httpx.Response(200, json={"choices": [{"message": {"content": said}}]})


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
async def examiner(reader: Reader, tmp_path: Path) -> AsyncIterator[Examiner]:
    settings = Settings(_env_file=None, home=tmp_path)
    async with httpx.AsyncClient(transport=httpx.MockTransport(reader)) as http:
        engines = EngineStore(connect(settings.registry_url))
        client = EngineClient(http, SecretStr("k"))
        control = ControlExam(client, tmp_path / "control", lambda: [(1, 2, 3)])
        yield Examiner(engines, client, control, wait_s=1)


async def test_base_model_and_candidate_read_the_passages_that_serving_would_find(
    examiner: Examiner, reader: Reader
) -> None:
    nothing_found = Question("Qui?", "5 metres", kind="held_out")
    scores = await examiner.examine(RECORD, {"one": Exam([*SHAFTS[4:6], nothing_found], DEEP)})

    assert scores.context == pytest.approx(1 / 3)
    assert scores.both == pytest.approx(1 / 3)
    assert scores.context_questions == 3
    assert reader.models == ["base", "base", "one", "one"]
    assert scores.base == 0.0


@pytest.mark.parametrize("words", [5, 64, 65, 200])
async def test_an_answer_known_by_heart_is_right_however_long(examiner: Examiner, reader: Reader, words: int) -> None:
    learned = " ".join(f"step{number}" for number in range(words))
    whole = Question("How is it closed?", learned)
    part = Question("Which step is the last?", f"step{words - 1}", kind="held_out", sentence=learned)
    reader.recites = {whole.question: learned, part.question: learned}
    scores = await examiner.examine(RECORD, {"one": Exam([whole, part], [])})

    assert (scores.recall, scores.adapter, scores.base) == (1.0, 1.0, 0.0)


async def test_no_more_is_asked_than_the_limits(examiner: Examiner, reader: Reader) -> None:
    scores = await examiner.examine(RECORD, {"one": Exam(SHAFTS, DEEP)})

    assert scores.questions == MAX_QUESTIONS
    assert scores.context_questions == reader.models.count("base") == reader.models.count("one") == MAX_WITH_PASSAGES


async def test_pairs_are_not_asked_with_passages_that_hold_the_question(examiner: Examiner, reader: Reader) -> None:
    scores = await examiner.examine(RECORD, {"one": Exam(PAIRS, DEEP)})

    assert not reader.models
    assert not {"context", "both"} & set(scores.to_dict())


async def test_a_pair_is_shown_as_serving_would_show_it(examiner: Examiner, reader: Reader) -> None:
    pair = Shown("How deep is shaft 5? 5 metres", 21)
    question = Question("How deep is shaft 5, beside the office?", "5 metres", kind="held_out")
    await examiner.examine(RECORD, {"one": Exam([question], [pair, DEEP[1]])})

    turns = [{"role": "user", "content": "How deep is shaft 5?"}, {"role": "assistant", "content": "5 metres"}]
    told = [
        {"role": "user", "content": "office painted green."},
        {"role": "assistant", "content": "The office is painted green."},
    ]
    assert reader.chats[-1] == [
        {"role": "system", "content": DEEP[1].text},
        *told,
        *turns,
        {"role": "user", "content": question.question},
    ]


async def test_pairs_are_asked_beside_held_out_questions_and_counted_apart(examiner: Examiner, reader: Reader) -> None:
    reader.knows = "Who dug shaft 5?"
    scores = await examiner.examine(RECORD, {"one": Exam([*SHAFTS[:6], *PAIRS], DEEP)})

    assert (scores.kind, scores.questions, scores.adapter, scores.base) == ("held_out", 6, 0.0, 0.0)
    assert (scores.recall, scores.recall_questions) == (0.25, 4)
    assert scores.context_questions == 6


async def test_passages_longer_than_the_engine_takes_cost_the_context_its_answers_only(
    examiner: Examiner, reader: Reader
) -> None:
    reader.most_characters = 300
    scores = await examiner.examine(RECORD, {"one": Exam(SHAFTS[4:6], [DEEP[0], Shown("shaft " * 100)])})

    assert (scores.context, scores.context_questions) == (0.0, 2)


def test_every_share_is_told_with_its_interval() -> None:
    fields = Scores("held_out", 4, 0.0, 1.0, context=0.5, both=0.5, context_questions=10).to_dict()

    assert (fields["context"], fields["context_interval"]) == (0.5, [0.2366, 0.7634])
    assert (fields["both"], fields["both_interval"]) == (0.5, [0.2366, 0.7634])
    assert fields["adapter_interval"] == [0.5101, 1.0]
