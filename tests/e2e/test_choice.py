"""Many memories at once: the question finds its memory, several answer as one, and general questions are left alone."""

from typing import Any

import httpx
import pytest

from tests.e2e.facts import SMALL
from tests.e2e.stack import Stack
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e

A, B = SMALL


def query(http: httpx.Client, question: str, **fields: Any) -> dict[str, Any]:
    """Ask one question with /v1/query; return the reply."""
    reply = http.post("/v1/query", json={"question": question, "max_tokens": 24, **fields})
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


def wait_for_a_composite(http: httpx.Client) -> None:
    """Wait until the engine has reported that it holds a composite: its next heartbeat does."""
    wait_until(
        lambda: any(".cmp_" in one["id"] for one in http.get("/v1/adapters").json()["data"]),
        30,
        lambda: "no engine says that it holds a composite",
    )


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


def test_a_composite_that_keeps_every_member_answers_and_says_how_it_was_made(
    stack: Stack, small: dict[str, str]
) -> None:
    question = next(iter(SMALL[B]))
    with stack.http() as http:
        reply = query(http, question, memories=[A, B], compose={"method": "cat"})
        wait_for_a_composite(http)

    assert {one["id"] for one in reply["memory"]["used"]} == {small[A], small[B]}
    assert len(reply["memory"]["compose"]["proof"]["members"]) == 2


def test_a_composite_that_has_lost_a_member_is_refused_with_figures(stack: Stack, small: dict[str, str]) -> None:
    body = {"question": "Who?", "memories": [A, B], "compose": {"method": "linear", "weights": [1.0, 0.0]}}
    with stack.http() as http:
        before = {one["id"] for one in http.get("/v1/adapters").json()["data"]}
        reply = http.post("/v1/query", json=body)
        after = {one["id"] for one in http.get("/v1/adapters").json()["data"]}

    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "composite_rejected")
    assert "nats" in reply.json()["error"]["message"]
    assert after <= before
