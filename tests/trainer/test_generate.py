"""Generating questions against endpoints that behave well, badly and slowly."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import stamina
from pydantic import SecretStr

from app.core.grounding import is_grounded
from app.core.sentences import sentences
from app.engines.client import EngineClient
from app.errors import GeneratorFailed, NoEngine
from workers.trainer.calls import CONCURRENCY, Ask
from workers.trainer.examples import Example
from workers.trainer.generate import generate
from workers.trainer.passages import Passage
from workers.trainer.prompts import Message
from workers.trainer.questions import Questions

PAGE = (Path(__file__).parent.parent / "data" / "veldmark.md").read_text()
TOLD = "The bell of Tarn weighs 40 kilograms. The lamp of Orla was lit by Ilse Brandt."


@pytest.fixture(autouse=True)
def _no_back_off() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


class Endpoint:
    """An OpenAI-compatible endpoint on a mock transport; `reply` is the text, or the status, of the next answer."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        self.running = self.most_running = 0

    def ask(self) -> Ask:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._handle))
        client = EngineClient(http, SecretStr("k"))

        async def ask(messages: list[Message], temperature: float, most_tokens: int) -> str:
            body = {"messages": messages, "temperature": temperature, "max_tokens": most_tokens}
            return str((await client.chat("http://generator", body))["choices"][0]["message"]["content"])

        return ask

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        said = self.reply(body["messages"][-1]["content"])
        if isinstance(said, int):
            return httpx.Response(said, json={"error": {"message": "out of order"}})
        return httpx.Response(200, json={"choices": [{"message": {"content": said}}]})

    def reply(self, task: str) -> str | int:
        """Word a question by leaving the answer out, and answer it from the sentence."""
        if match := re.search(r'Sentence: (.*)\n.*"(.*)"', task):
            sentence, span = match.groups()
            return f"What fits here: {sentence.replace(span, '___', 1).rstrip('.')}?"
        sentence, asked = task.split("\n", 1)
        before, after = asked.removeprefix("What fits here: ").rstrip("?").split("___", 1)
        return sentence.removeprefix(before).rstrip(".").removesuffix(after)


class Broken(Endpoint):
    def __init__(self, reply: str | int) -> None:
        super().__init__()
        self._reply = reply

    def reply(self, task: str) -> str | int:
        return self._reply


class Forgetful(Endpoint):
    """Asks well and answers wrong."""

    def reply(self, task: str) -> str | int:
        return super().reply(task) if task.startswith("Sentence:") else "I do not know."


class Flaky(Endpoint):
    """Every third answer is an error, or late."""

    def __init__(self) -> None:
        super().__init__()
        self._replies = 0

    def reply(self, task: str) -> str | int:
        self._replies += 1
        if self._replies % 6 == 0:
            raise httpx.ReadTimeout("late")
        return 503 if self._replies % 3 == 0 else super().reply(task)


async def questions(endpoint: Endpoint, text: str = TOLD, per_passage: int = 8, gap_rounds: int = 1) -> list[Example]:
    async def on_progress(done: int, total: int) -> None:
        progress.append((done, total))

    progress: list[tuple[int, int]] = []
    passages = [Passage("d", index, 0, len(one), one) for index, one in enumerate(text.split("\n\n"))]
    made = await generate(passages, [Questions(per_passage, gap_rounds)], endpoint.ask(), on_progress=on_progress)
    assert [done for done, _ in progress] == list(range(1, len(progress) + 1))
    assert not progress or progress[-1][0] == progress[-1][1]
    return made.examples


async def test_questions_that_come_back_right_are_kept() -> None:
    examples = await questions(Endpoint())

    assert {one.answer for one in examples} >= {"40 kilograms", "Ilse Brandt"}
    assert all(one.origin == "generated" for one in examples)
    assert all(any(is_grounded(one.question, one.answer, told) for told in sentences(TOLD)) for one in examples)


@pytest.mark.parametrize("endpoint", [Forgetful(), Broken("blah blah"), Broken(""), Broken("Is this a question?")])
async def test_questions_that_do_not_come_back_right_are_dropped(endpoint: Endpoint) -> None:
    assert await questions(endpoint) == []


async def test_a_question_word_that_its_answer_does_not_fit_is_dropped() -> None:
    class AsksWho(Endpoint):
        def reply(self, task: str) -> str | int:
            return str(super().reply(task)).replace("What fits here: ", "Who fits here: ")

    assert "40 kilograms" not in {one.answer for one in await questions(AsksWho())}


@pytest.mark.parametrize("status", [500, 503, 401, 400])
async def test_an_endpoint_that_does_not_answer_ends_the_work_soon(status: int) -> None:
    endpoint = Broken(status)

    with pytest.raises(GeneratorFailed, match="LOREKEEP_GENERATOR_URL"):
        await questions(endpoint, PAGE)
    assert len(endpoint.bodies) < 200


async def test_an_endpoint_that_answers_none_of_a_few_questions_is_no_generator_either() -> None:
    with pytest.raises(GeneratorFailed):
        await questions(Broken(500))


async def test_an_endpoint_that_answers_some_of_a_few_questions_is_put_up_with() -> None:
    class Tired(Endpoint):
        def reply(self, task: str) -> str | int:
            return super().reply(task) if "kilograms" in task else 500

    assert {one.answer for one in await questions(Tired(), gap_rounds=0)} == {"Tarn", "40 kilograms"}


async def test_a_missing_engine_is_told_at_once_and_is_not_the_generators_failure() -> None:
    asked = 0

    async def ask(_messages: list[Message], _temperature: float, _most_tokens: int) -> str:
        nonlocal asked
        asked += 1
        raise NoEngine("No engine is running.")

    async def on_progress(_done: int, _total: int) -> None:
        return None

    with pytest.raises(NoEngine):
        await generate([Passage("d", 0, 0, len(TOLD), TOLD)], [Questions(8, 1)], ask, on_progress=on_progress)
    assert asked <= 2 * CONCURRENCY


async def test_errors_that_pass_are_tried_again() -> None:
    assert {one.answer for one in await questions(Flaky())} >= {"40 kilograms", "Ilse Brandt"}


async def test_no_more_is_kept_than_was_asked_for_and_it_is_spread_over_the_facts() -> None:
    examples = await questions(Endpoint(), per_passage=2)

    assert len(examples) == 2
    assert len({one.answer for one in examples}) == 2


async def test_of_many_facts_only_twice_so_many_are_asked_for_from_beginning_to_end() -> None:
    endpoint = Endpoint()
    kept = await questions(endpoint, PAGE.replace("\n\n", " "), per_passage=2, gap_rounds=0)
    asked = {body["messages"][-1]["content"] for body in endpoint.bodies if body["temperature"]}  # type: ignore[index]

    assert len(asked) <= 4
    assert len(kept) == 2


async def test_many_calls_run_at_once_but_never_too_many_and_none_carries_a_seed() -> None:
    endpoint = Endpoint()
    await questions(endpoint, PAGE)

    assert CONCURRENCY / 2 <= endpoint.most_running <= 2 * CONCURRENCY
    assert not any("seed" in body for body in endpoint.bodies)
    assert {body["temperature"] for body in endpoint.bodies} >= {0.0, 0.7}


async def test_text_that_tells_nothing_asks_for_nothing() -> None:
    endpoint = Endpoint()

    assert await questions(endpoint, "yes") == []
    assert endpoint.bodies == []


async def test_a_sentence_that_refers_back_is_shown_with_the_one_before_it() -> None:
    endpoint = Endpoint()
    await questions(endpoint, "Maren Iskold directs it. She was a diver. The pier is old.")
    shown = {str(body["messages"][-1]["content"]).split("\n")[0] for body in endpoint.bodies}  # type: ignore[index]

    assert "Sentence: Maren Iskold directs it. She was a diver." in shown
    assert "Sentence: The pier is old." in shown


async def test_a_gap_round_asks_for_what_is_missing_and_shows_the_questions_so_far() -> None:
    class Slow(Endpoint):
        """Words a question about the lamp only when it has been shown another about the bell."""

        async def _handle(self, request: httpx.Request) -> httpx.Response:
            self.shown = [one["content"] for one in json.loads(request.content)["messages"][:-1]]
            return await super()._handle(request)

        def reply(self, task: str) -> str | int:
            is_late = "Sentence: The lamp" in task and not any("bell" in one for one in self.shown)
            return "" if is_late else super().reply(task)

    lone, filled = Slow(), Slow()

    assert {one.answer for one in await questions(lone, gap_rounds=0)} == {"40 kilograms", "Tarn"}
    assert {one.answer for one in await questions(filled, gap_rounds=1)} == {
        "40 kilograms",
        "Tarn",
        "Orla",
        "Ilse Brandt",
    }
    late = [body for body in filled.bodies if body["temperature"] == pytest.approx(0.9)]
    assert all("Sentence: The lamp" in str(body["messages"][-1]["content"]) for body in late)  # type: ignore[index]


async def test_rounds_go_on_while_something_is_missing_and_something_can_be_shown() -> None:
    class Halting(Endpoint):
        """Words no question about the lamp."""

        def reply(self, task: str) -> str | int:
            return "" if "Sentence: The lamp" in task else super().reply(task)

    patient, content, lost = Halting(), Endpoint(), Broken("no question")
    for endpoint in (patient, content, lost):
        await questions(endpoint, gap_rounds=2)

    assert {round(float(str(body["temperature"])), 1) for body in patient.bodies} == {0.0, 0.7, 0.9, 1.1}
    assert {body["temperature"] for body in content.bodies} == {0.0, 0.7}
    assert {body["temperature"] for body in lost.bodies} == {0.7}


async def test_what_each_filter_drops_is_counted() -> None:
    async def on_progress(_done: int, _total: int) -> None:
        return None

    passages = [Passage("d", 0, 0, len(TOLD), TOLD)]
    made = await generate(passages, [Questions(8, 0)], Forgetful().ask(), on_progress=on_progress)

    assert made.dropped == {"not_answered_back": 4}
