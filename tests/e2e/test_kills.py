"""`kill -9` of each part in turn: what was accepted becomes ready and nothing answers from a wrong adapter."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from tests.e2e.facts import SMALL, phone_book
from tests.e2e.memories import answer, remember, wait_over
from tests.e2e.stack import Stack
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e

KNOWN, PAIRS = next(iter(SMALL.items()))  # a memory that is ready before anything is killed
PARTS = ["rq:worker", "valkey", "workers.engine", "vllm.entrypoints", "app.main"]


def wait_for_training(http: httpx.Client, memory_id: str, step: int) -> None:
    """Wait until a memory is in the middle of training."""

    def is_there() -> bool:
        memory = http.get(f"/v1/memories/{memory_id}").json()
        return bool(memory["status"] == "training" and memory["progress"].get("step", 0) >= step)

    wait_until(is_there, 240, lambda: "training never began")


def test_everything_accepted_before_a_kill_becomes_ready_and_answers_stay_right(
    stack: Stack, small: dict[str, str]
) -> None:
    pairs = phone_book(8, seed=30)
    client = stack.openai(max_retries=0, timeout=60)
    outcomes: list[bool | str] = []

    def ask_on(question: str) -> None:
        for _ in range(6):
            try:
                outcomes.append(answer(client, small[KNOWN], question) == PAIRS[question])
            except (openai.APIError, httpx.TransportError) as error:
                outcomes.append(type(error).__name__)

    with stack.http() as http:
        memory_id = remember(http, "killed", pairs)
        wait_for_training(http, memory_id, 5)
        for part in PARTS:
            with ThreadPoolExecutor(4) as pool:
                done = [pool.submit(ask_on, question) for question in list(PAIRS)[:4]]
                stack.kill(part)
                for future in done:
                    future.result()
            stack.wait_ready(300)
        memory = wait_over(http, memory_id)
        assert memory["status"] == "ready", (memory["error"], stack.logs())
        question = next(iter(pairs))
        after = answer(stack.openai(max_retries=4), memory_id, question)

    assert not [outcome for outcome in outcomes if outcome is False], f"a wrong answer among {outcomes}"
    assert after == pairs[question]
