"""Passages in the prompt: what mode `context` answers from instead of weights, and mode `both` beside them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from app.core.context import question_with_passages
from app.core.names import AdapterName
from app.errors import InvalidRequest, NoPassages, NotFound
from app.retrieve import PASSAGES, Hit, IndexCache, PassageIndex
from app.stores.artifacts import ArtifactStore


class Library:
    """Finds the passages of versions."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._indexes = IndexCache()

    async def find(self, adapter: str, question: str) -> list[Hit]:
        """Return a version's best passages for a question.

        Raises:
            NoPassages: none shares a word with it; it is never answered without any in silence.
        """
        index = self._indexes.get(adapter)
        if index is None:
            index = await asyncio.to_thread(self._index, adapter)
            self._indexes.put(adapter, index)
        hits = await asyncio.to_thread(index.search, question, PASSAGES)
        if not hits:
            raise NoPassages("No passage of this memory shares a word with the question: ask it with mode adapter.")
        return hits

    def _index(self, adapter: str) -> PassageIndex:
        try:
            rows = self._artifacts.read_lines(AdapterName.parse(adapter), "passages.jsonl")
        except NotFound as error:
            raise NoPassages("This memory has no passages: ask it with mode adapter.") from error
        return PassageIndex([row["text"] for row in rows])


def question_of(body: dict[str, Any]) -> str:
    """Return the text to find passages for: the user's last message, or the prompt.

    Raises:
        InvalidRequest: it is not one text.
    """
    if "messages" not in body:
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise InvalidRequest("With memory.mode context or both the prompt must be one text.", "prompt")
        return prompt
    messages = body["messages"]
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user" or not isinstance(last.get("content"), str):
        raise InvalidRequest(
            "With memory.mode context or both the last message must be the user's, as text.", "messages"
        )
    return str(last["content"])


def with_passages(body: dict[str, Any], hits: Sequence[Hit]) -> dict[str, Any]:
    """Return the body with the passages before the question; the other messages stay as they are."""
    texts = [hit.text for hit in hits]
    if "messages" not in body:
        return {**body, "prompt": "\n\n".join([*texts, body["prompt"]])}
    *before, last = body["messages"]
    asked = question_with_passages(texts, last["content"])
    return {**body, "messages": [*before, {**last, "content": asked}]}
