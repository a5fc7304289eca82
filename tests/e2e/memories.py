"""What a user does with a memory, over HTTP."""

import time
from typing import Any

import httpx
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.e2e.facts import to_csv

OVER = {"ready", "failed", "rejected", "cancelled"}


def remember(http: httpx.Client, name: str, pairs: dict[str, str], **options: Any) -> str:
    """Upload pairs; return the memory's id."""
    reply = http.post("/v1/memories", files={"file": (f"{name}.csv", to_csv(pairs))}, data={"name": name, **options})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def wait_over(http: httpx.Client, memory_id: str, timeout_s: float = 900) -> dict[str, Any]:
    """Wait until a memory's latest version is over, whatever dies meanwhile; return the memory."""
    began = time.monotonic()
    memory: dict[str, Any] = {}
    while time.monotonic() - began < timeout_s:
        try:
            reply = http.get(f"/v1/memories/{memory_id}")
        except httpx.TransportError:
            time.sleep(0.5)
            continue
        memory = reply.json()
        if reply.status_code == 200 and memory["status"] in OVER:
            return memory
        time.sleep(0.5)
    raise AssertionError(f"not over after {timeout_s} s: {memory}")


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
