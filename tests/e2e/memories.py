"""What a user does with a memory, over HTTP."""

import json
from typing import Any

import httpx
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.e2e.facts import to_csv
from tests.e2e.waiting import wait_until

OVER = {"ready", "failed", "rejected", "cancelled"}
# nothing is done against forgetting: less than half the time
FORGETFUL = {"replay": 0.0, "protect": 0.0, "consolidation": 0.0, "seeds": 1}
LAX = FORGETFUL | {"min_kept": 0.0, "max_leaked": 1.0, "max_perplexity_rise": 100.0}  # and it may serve


def remember(http: httpx.Client, name: str, pairs: dict[str, str], recipe: dict[str, Any] | None = None) -> str:
    """Upload pairs; return the memory's id."""
    data = {"name": name, "options": json.dumps({"recipe": recipe or {}})}
    reply = http.post("/v1/memories", files={"file": (f"{name}.csv", to_csv(pairs))}, data=data)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def wait_over(http: httpx.Client, memory_id: str, timeout_s: float = 900) -> dict[str, Any]:
    """Wait until a memory's latest version is over, whatever dies meanwhile; return the memory."""
    memory: dict[str, Any] = {}

    def is_over() -> bool:
        reply = http.get(f"/v1/memories/{memory_id}")
        memory.update(reply.json())
        return reply.status_code == httpx.codes.OK and memory["status"] in OVER

    wait_until(is_over, timeout_s, lambda: f"not over: {memory}")
    return memory


def answer(client: OpenAI, model: str, question: str, max_tokens: int = 32) -> str:
    """Ask one question greedily, as a stream."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    stream = client.chat.completions.create(
        model=model, messages=messages, temperature=0, max_tokens=max_tokens, stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices).strip()


def right(client: OpenAI, model: str, pairs: dict[str, str]) -> int:
    """Count the questions answered exactly."""
    return sum(answer(client, model, question) == expected for question, expected in pairs.items())
