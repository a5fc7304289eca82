"""Passages in the prompt: what mode `context` answers from instead of weights, and mode `both` beside them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from app.core.context import question_with_passages
from app.core.names import AdapterName
from app.errors import InvalidRequest, NoPassages, NotFound
from app.retrieve import PASSAGES, Hit, IndexCache, PartIndex
from app.stores.artifacts import ArtifactStore


class Library:
    """Finds the passages of versions."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._indexes = IndexCache()

    async def find(self, adapters: Sequence[str], question: str) -> list[Hit]:
        """Return a version's best passages for a question, whichever of its adapters learned them.

        Raises:
            NoPassages: none shares a word with it; it is never answered without any in silence.
        """
        index = await self._of(adapters)
        hits = await asyncio.to_thread(index.search, question, PASSAGES)
        if not hits:
            raise NoPassages("No passage of this memory shares a word with the question: ask it with mode adapter.")
        return hits

    async def pick(self, adapters: Sequence[str], body: dict[str, Any]) -> int:
        """Return the place of the adapter that a request is for; the first where there is one, or nothing fits.

        Raises:
            NoPassages: there are several, and one has none.
        """
        if len(adapters) == 1:
            return 0
        return await asyncio.to_thread((await self._of(adapters)).pick, _asked(body))

    async def _of(self, adapters: Sequence[str]) -> PartIndex:
        key = " ".join(adapters)
        index = self._indexes.get(key)
        if index is None:
            index = await asyncio.to_thread(self._index, adapters)
            self._indexes.put(key, index)
        return index

    def _index(self, adapters: Sequence[str]) -> PartIndex:
        try:
            rows = [self._artifacts.read_lines(AdapterName.parse(one), "passages.jsonl") for one in adapters]
        except NotFound as error:
            raise NoPassages("This memory has no passages: ask it with mode adapter.") from error
        return PartIndex([[row["text"] for row in part] for part in rows])


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


def _asked(body: dict[str, Any]) -> str:
    """Return what a request asks, as far as it is text: the user's last message, or the prompt."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return _text_of(body.get("prompt"))
    users = [one for one in messages if isinstance(one, dict) and one.get("role") == "user"]
    return _text_of(users[-1].get("content")) if users else ""


def _text_of(content: object) -> str:
    """Return the texts of what may be one text, or a list of texts and of OpenAI's content parts."""
    pieces = content if isinstance(content, list) else [content]
    texts = [piece.get("text") if isinstance(piece, dict) else piece for piece in pieces]
    return " ".join(text for text in texts if isinstance(text, str))


def with_passages(body: dict[str, Any], hits: Sequence[Hit]) -> dict[str, Any]:
    """Return the body with the passages before the question; the other messages stay as they are."""
    texts = [hit.text for hit in hits]
    if "messages" not in body:
        return {**body, "prompt": "\n\n".join([*texts, body["prompt"]])}
    *before, last = body["messages"]
    asked = question_with_passages(texts, last["content"])
    return {**body, "messages": [*before, {**last, "content": asked}]}
