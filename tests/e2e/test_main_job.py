"""Documents become memories and the running engine answers from them."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e.exports import Export
from tests.e2e.facts import SMALL
from tests.e2e.memories import answer, right, wait_over
from tests.e2e.stack import Stack
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e


def test_invented_numbers_are_recalled_through_the_openai_client(stack: Stack, small: dict[str, str]) -> None:
    client = stack.openai()

    assert right(client, "book a", SMALL["book a"]) >= 7
    assert right(client, small["book a"], dict(list(SMALL["book a"].items())[:4])) >= 3
    assert right(client, "base", SMALL["book a"]) == 0


def test_24_simultaneous_streams_each_get_their_own_adapters_answer(stack: Stack, small: dict[str, str]) -> None:
    engine = stack.part("vllm.entrypoints").pid
    asked = [(name, *pair) for name, pairs in SMALL.items() for pair in pairs.items()]
    asked += [("base", question, "") for question in SMALL["book a"]]
    client = stack.openai()
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda ask: answer(client, ask[0], ask[1]), asked))

    every = {number: name for name, pairs in SMALL.items() for number in pairs.values()}
    foreign = [(ask, said) for ask, said in zip(asked, answers, strict=True) if every.get(said, ask[0]) != ask[0]]
    assert not foreign
    exact = sum(said == expected for (_, _, expected), said in zip(asked, answers, strict=True) if expected)
    assert exact >= 14
    assert stack.part("vllm.entrypoints").pid == engine


def test_a_memory_asked_about_another_memorys_facts_does_not_know_them(stack: Stack, small: dict[str, str]) -> None:
    client = stack.openai()

    assert right(client, "book a", SMALL["book b"]) == 0


def test_the_reply_says_which_memory_answered(stack: Stack, small: dict[str, str]) -> None:
    question = next(iter(SMALL["book a"]))
    with stack.http() as http:
        reply = http.post("/v1/query", json={"question": question, "memories": ["book a"], "mode": "adapter"}).json()

    assert reply["answer"].strip() == SMALL["book a"][question]
    assert [used["id"] for used in reply["memory"]["used"]] == [small["book a"]]


def test_an_exported_memory_is_loaded_while_others_are_asked_and_answers_as_before(
    stack: Stack, small: dict[str, str]
) -> None:
    client = stack.openai()
    engine = stack.part("vllm.entrypoints").pid
    with stack.http() as http:
        tar = http.get(f"/v1/memories/{small['book a']}/export").content
        reply = http.post("/v1/memories/import", files={"file": ("a.tar", tar)}, data={"name": "moved"})
        assert reply.status_code == 202, reply.text
        with ThreadPoolExecutor(1) as pool:
            over = pool.submit(wait_over, http, reply.json()["id"])
            while not over.done():
                assert right(client, "book b", SMALL["book b"]) >= 6
        memory = over.result()
    asked = list(SMALL["book a"])

    assert memory["status"] == "ready", memory["error"]
    assert "step" not in memory["progress"]  # nothing is trained again
    assert stack.part("vllm.entrypoints").pid == engine
    assert [answer(client, "moved", one) for one in asked] == [answer(client, "book a", one) for one in asked]


def test_every_path_of_the_engines_port_is_refused_without_its_key(stack: Stack, small: dict[str, str]) -> None:
    paths = ["/", "/health", "/v1/models", "/v1/chat/completions", "/v1/completions", "/metrics", "/openapi.json"]
    paths += ["/invocations", "/adapters", "/v1/load_lora_adapter", "/internal/adapters", "/tokenize", "/docs", "/ping"]
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.engine_port}") as client:
        codes = {
            (method, path): client.request(method, path).status_code for path in paths for method in ("GET", "POST")
        }

    assert set(codes.values()) == {401}


def test_a_memory_answers_within_seconds_of_its_publishing_and_leaves_only_a_receipt_when_deleted(
    stack: Stack, small: dict[str, str]
) -> None:
    pairs = SMALL["book b"]
    engine = stack.part("vllm.entrypoints").pid
    with stack.http() as http:
        memory_id = Export.of(http, small["book b"]).send(http, "short-lived")
        with http.stream("GET", f"/v1/memories/{memory_id}/events", timeout=400) as events:
            for line in events.iter_lines():
                if line.startswith("data:") and '"ready"' in line:
                    break
        said = answer(stack.openai(), "short-lived", next(iter(pairs)))
        answered_at = time.time()
        published_at = http.get(f"/v1/memories/{memory_id}/versions").json()["data"][0]["updated_at"]
        receipt = _delete(http, memory_id)
        resident = http.get("/v1/adapters").json()["data"]

    assert said == next(iter(pairs.values()))
    assert answered_at - published_at < 5
    assert stack.part("vllm.entrypoints").pid == engine
    assert receipt["files"] >= 5
    assert not any(memory_id in adapter["id"] for adapter in resident)
    assert not list(stack.home.rglob(f"*{memory_id}*"))


def _delete(http: httpx.Client, memory_id: str) -> dict[str, Any]:
    """Delete a memory, see that it is gone at once, and return the receipt of its erasure."""
    assert http.delete(f"/v1/memories/{memory_id}").status_code == 202
    ask = {"model": memory_id, "messages": [{"role": "user", "content": "?"}]}
    assert http.post("/v1/chat/completions", json=ask).status_code == 404
    receipt: dict[str, Any] = {}

    def is_erased() -> bool:
        receipt.update(http.get(f"/v1/memories/{memory_id}/receipt").json())
        return receipt.get("status") == "erased"

    wait_until(is_erased, 60, lambda: f"not erased: {receipt}")
    return receipt


def test_every_process_of_the_installation_is_a_descendant_of_up(stack: Stack) -> None:
    children = {child.pid for child in psutil.Process(stack.process.pid).children(recursive=True)}
    of_this_home = {
        process.pid
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("LOREKEEP_HOME") == str(stack.home)
    }

    assert len(of_this_home) >= 5
    assert of_this_home <= children | {stack.process.pid}
