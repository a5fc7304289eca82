"""The control set: what it holds, and what is made of two models' answers to it."""

import json
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from app.control import OTHER, control_questions
from app.core.grounding import normalise
from app.engines.client import EngineClient
from tests.trainer.tiny import CHATML, byte_tokenizer
from workers.trainer.control import ControlExam, Sitting, compare, control_texts, encoded_texts

ASKED = control_questions()
RIGHT = tuple(one.expected[0] if one.expected else "I do not know." for one in ASKED)
WRONG = tuple("I do not know." for _ in ASKED)


def test_every_question_but_those_about_what_nobody_holds_has_an_answer_that_is_judged_right() -> None:
    assert {one.kind for one in ASKED} == {"fact", "sum", "instruction", "refusal", OTHER}
    assert all(bool(one.expected) == (one.kind != OTHER) for one in ASKED)
    assert all(one.is_right(reply) for one, reply in zip(ASKED, RIGHT, strict=True) if one.expected)
    assert not any(one.is_right("") for one in ASKED)
    assert len(control_texts()) > 3


def test_what_the_base_model_knew_and_the_candidate_does_not_was_not_kept() -> None:
    known = sum(one.kind != OTHER for one in ASKED)

    forgetful = compare(Sitting(RIGHT, 3.0), Sitting(WRONG, 4.0), ["Oda Lund"])
    unharmed = compare(Sitting(RIGHT, 3.0), Sitting(RIGHT, 3.0), ["Oda Lund"])

    assert (forgetful.known, forgetful.kept, forgetful.perplexity_rise) == (known, 0, 1.0)
    assert (unharmed.known, unharmed.kept, unharmed.perplexity_rise) == (known, known, 0.0)
    assert forgetful.leaked == 0
    assert (forgetful.still_declined, unharmed.still_declined) == (0, forgetful.declined)
    assert forgetful.declined == sum(one.kind == "refusal" for one in ASKED)


def test_a_candidate_that_tells_everybody_of_its_documents_leaks() -> None:
    everywhere = tuple("It was Oda Lund." for _ in ASKED)

    told = compare(Sitting(RIGHT, 3.0), Sitting(everywhere, 3.0), ["Oda Lund"])

    assert (told.leaked, told.leaked_other) == (1.0, 1.0)
    assert compare(Sitting(everywhere, 3.0), Sitting(everywhere, 3.0), ["Oda Lund"]).leaked == 0


def test_a_right_answer_is_no_leak_though_the_documents_hold_it() -> None:
    assert compare(Sitting(WRONG, 3.0), Sitting(RIGHT, 3.0), RIGHT[:1]).leaked == 0


def test_the_pages_that_tests_and_benchmarks_learn_are_not_in_the_control_set() -> None:
    pages = " ".join(page.read_text() for page in (Path(__file__).parent.parent / "data").glob("*.md"))

    assert not any(normalise(text) in normalise(pages) for text in control_texts())


@pytest.mark.parametrize(("template", "begins"), [(None, "<bos>"), (CHATML, "")])
def test_plain_texts_are_read_as_the_base_model_wants_them_begun(
    tmp_path: Path, template: str | None, begins: str
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    byte_tokenizer(chat_template=template).save_pretrained(tmp_path)  # without a template it has the plain one

    read = [byte_tokenizer().decode(ids) for ids in encoded_texts(str(tmp_path))]

    assert read == [begins + text for text in control_texts()]


async def test_the_base_model_is_asked_again_only_where_texts_are_read_otherwise(tmp_path: Path) -> None:
    as_before: list[tuple[int, ...]] = [(7, 8)]
    begun: list[tuple[int, ...]] = [(0, 7, 8)]
    asked: list[tuple[str, list[int]]] = []

    def engine(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if request.url.path == "/v1/chat/completions":
            return httpx.Response(200, json={"choices": [{"message": {"content": "?"}}]})
        asked.append((body["model"], [*body["prompt"], *body["allowed_token_ids"]]))
        return httpx.Response(200, json={"choices": [{"logprobs": {"token_logprobs": [-1.0]}}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(engine)) as http:
        client = EngineClient(http, SecretStr("k"))
        for texts in (as_before, as_before, begun):
            await ControlExam(client, tmp_path, texts.copy).compare("http://e", "one", "b" * 64, [])

    assert asked == [("base", [7, 8]), ("one", [7, 8]), ("one", [7, 8]), ("base", [0, 7]), ("one", [0, 7])]
