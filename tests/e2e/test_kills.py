"""`kill -9` of each part while a page is learned: it becomes ready, is known, and nothing answers from a wrong adapter.

The engine's agent is killed in test_two_engines.py.
"""

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from app.core.grounding import holds
from tests.e2e.facts import SMALL
from tests.e2e.memories import answer, wait_over
from tests.e2e.stack import Stack
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e

DATA = Path(__file__).parent.parent / "data"
KNOWN, PAIRS = next(iter(SMALL.items()))  # a memory that is ready before anything is killed
PARTS = ["rq:worker", "valkey", "vllm.entrypoints", "app.main"]


def wait_for_training(http: httpx.Client, memory_id: str, step: int) -> None:
    """Wait until a memory is in the middle of training."""

    def is_there() -> bool:
        memory = http.get(f"/v1/memories/{memory_id}").json()
        return bool(memory["status"] == "training" and memory["progress"].get("step", 0) >= step)

    wait_until(is_there, 600, lambda: "training never began")


def ask_through_kills(stack: Stack, memory_id: str) -> list[bool | str]:
    """Kill one part after the other while questions are asked; return whether each was right, or which error came."""
    client = stack.openai(max_retries=0, timeout=60)
    outcomes: list[bool | str] = []

    def ask_on(question: str) -> None:
        for _ in range(6):
            try:
                outcomes.append(answer(client, memory_id, question) == PAIRS[question])
            except (openai.APIError, httpx.TransportError) as error:
                outcomes.append(type(error).__name__)

    for part in PARTS:
        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(ask_on, question) for question in list(PAIRS)[:4]]
            stack.kill(part)
            for future in done:
                future.result()
        stack.wait_ready()
    return outcomes


def test_a_page_accepted_before_the_kills_is_known_in_words_it_was_not_trained_on_and_answers_stay_right(
    stack: Stack, small: dict[str, str]
) -> None:
    with (DATA / "kestrel_questions.csv").open(newline="") as file:
        asked = [(row["question"], row["answer"]) for row in csv.DictReader(file)][:5]
    page = "\n\n".join((DATA / "kestrel.md").read_text().split("\n\n")[:2])  # one paragraph, for time's sake
    with stack.http() as http:
        options = {"recipe": {"min_steps": 50}}  # else so few facts get more passes than a page's, 25
        data = {"name": "kestrel", "options": json.dumps(options)}
        reply = http.post("/v1/memories", files={"file": ("kestrel.md", page.encode())}, data=data)
        wait_for_training(http, reply.json()["id"], 5)
        outcomes = ask_through_kills(stack, small[KNOWN])
        memory = wait_over(http, reply.json()["id"])
    assert memory["status"] == "ready", (memory["error"], stack.logs())
    client = stack.openai(max_retries=4)
    right_of = {
        model: sum(holds(answer(client, model, question, 64), expected) for question, expected in asked)
        for model in ("base", "kestrel")
    }

    assert not [outcome for outcome in outcomes if outcome is False], f"a wrong answer among {outcomes}"
    assert True in outcomes
    assert right_of["base"] == 0
    assert right_of["kestrel"] >= 3
