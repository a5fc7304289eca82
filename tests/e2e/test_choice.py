"""Many memories at once: the question finds its memory, several answer as one, and general questions are left alone."""

from typing import Any

import httpx
import pytest

from tests.e2e.facts import SMALL
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

A, B = SMALL


def query(http: httpx.Client, question: str, **fields: Any) -> dict[str, Any]:
    """Ask one question with /v1/query; return the reply."""
    reply = http.post("/v1/query", json={"question": question, "max_tokens": 24, **fields})
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


def test_a_question_finds_its_memory_and_a_general_one_is_the_base_models(stack: Stack, small: dict[str, str]) -> None:
    with stack.http() as http:
        found = {
            (name, question): query(http, question, memories="auto", explain=True)
            for name, pairs in SMALL.items()
            for question in list(pairs)[:4]
        }
        general = query(http, "What is the capital of France?", memories="auto")

    chosen = [(name, [one["id"] for one in reply["memory"]["used"]]) for (name, _), reply in found.items()]
    assert chosen == [(name, [small[name]]) for name, _ in found]
    right = sum(reply["answer"].strip() == SMALL[name][question] for (name, question), reply in found.items())
    assert right >= 7
    assert all(reply["memory"]["candidates"] for reply in found.values())
    assert (general["memory"]["abstained"], general["memory"]["used"]) == (True, [])


def test_mode_auto_answers_and_says_how(stack: Stack, small: dict[str, str]) -> None:
    question = next(iter(SMALL[A]))
    with stack.http() as http:
        reply = query(http, question, memories=[A], mode="auto")

    assert SMALL[A][question] in reply["answer"]
    assert reply["memory"]["mode"] in {"adapter", "both", "context"}


def test_a_composite_that_is_all_one_member_answers_as_that_member_and_goes_with_it(
    stack: Stack, small: dict[str, str]
) -> None:
    compose = {"method": "linear", "weights": [1.0, 0.0]}
    asked = list(SMALL[A].items())[:4]
    with stack.http() as http:
        replies = [query(http, question, memories=[small[A], small[B]], compose=compose) for question, _ in asked]
        resident = [one["id"] for one in http.get("/v1/adapters").json()["data"]]

    right = sum(reply["answer"].strip() == number for reply, (_, number) in zip(replies, asked, strict=True))
    assert right >= 3
    assert {one["id"] for one in replies[0]["memory"]["used"]} == {small[A], small[B]}
    assert any(".cmp_" in name for name in resident)


def test_composed_memories_answer_for_each_member_or_are_refused_with_figures(
    stack: Stack, small: dict[str, str]
) -> None:
    question = next(iter(SMALL[B]))
    body = {"question": question, "memories": [A, B], "compose": {"method": "cat"}, "max_tokens": 24}
    with stack.http() as http:
        reply = http.post("/v1/query", json=body)

    if reply.status_code == 200:
        proof = reply.json()["memory"]["compose"]["proof"]
        assert len(proof["members"]) == 2
    else:
        assert (reply.status_code, reply.json()["error"]["code"]) == (422, "composite_rejected")
        assert "nats" in reply.json()["error"]["message"]
