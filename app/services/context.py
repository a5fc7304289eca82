"""Passages in the prompt: what mode `context` answers from instead of weights, and mode `both` beside them."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.context import Shown, with_passages
from app.core.names import AdapterName
from app.core.turns import MOST, asked_about, text_of
from app.engines.fleet import Seat
from app.errors import InvalidRequest, NoPassages, NotFound
from app.retrieve import PASSAGES, Hit, PartIndex, best_sentences
from app.services.send import Sender
from app.stores.artifacts import ArtifactStore

ANSWER_TOKENS = 256  # what an answer is left where the request names no limit
_MESSAGE_TOKENS, _PROMPT_TOKENS = 16, 64  # what a chat template may add
_PASSAGE_TOKENS = 192  # of a passage as a recipe cuts it that asks for nothing else
_INDEXES, _COUNTS = 64, 100_000


@dataclass(frozen=True)
class Cited:
    """A passage in a prompt.

    Attributes:
        index: its place among those of its document.
        score: BM25's, above 0.
        answer_start: where in the text the answer of an uploaded pair begins; 0 of prose.
    """

    document: str
    index: int
    text: str
    score: float
    answer_start: int = 0

    @property
    def shown(self) -> Shown:
        """What a prompt shows of it."""
        return Shown(self.text, self.answer_start)

    def to_dict(self) -> dict[str, Any]:
        """Return what a reply says of it."""
        return {"document": self.document, "index": self.index, "score": self.score, "text": self.text}


@dataclass(frozen=True)
class Reading:
    """The passages that a question is answered from.

    Attributes:
        sentences: of the cited passages, which a chat shows once more, as answers.
        as_turns: whether pairs are shown as answers as well.
        takes_system: whether the base model's chat template shows a system message.
    """

    cited: Sequence[Cited] = ()
    sentences: Sequence[Shown] = ()
    as_turns: bool = True
    takes_system: bool = True

    def put_into(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a body with the passages in it; the user's messages stay as they are where the model allows it."""
        if not self.cited:
            return body
        if "messages" not in body:
            return {**body, "prompt": "\n\n".join([*(one.text for one in self.cited), body["prompt"]])}
        cited = [one.shown if self.as_turns else Shown(one.text) for one in self.cited]
        shown = [*cited, *self.sentences]
        return {**body, "messages": with_passages(body["messages"], shown, takes_system=self.takes_system)}


@dataclass(frozen=True)
class _Shelf:
    index: PartIndex
    rows: Sequence[Mapping[str, Any]]

    def cite(self, hit: Hit) -> Cited:
        row = self.rows[hit.index]
        place = str(row.get("document", "")), int(row.get("index", hit.index))
        return Cited(*place, hit.text, hit.score, int(row.get("answer_start", 0)))


class Library:
    """Finds the passages of versions, as many as a prompt has room for."""

    def __init__(self, artifacts: ArtifactStore, sender: Sender, tokens: int) -> None:
        """Build a library.

        Args:
            tokens: how many, of all passages of a prompt, at most.
        """
        self._artifacts, self._sender, self._tokens = artifacts, sender, tokens
        self._shelves: OrderedDict[tuple[str, ...], _Shelf] = OrderedDict()
        self._counts: OrderedDict[tuple[tuple[str, ...], int], int] = OrderedDict()

    async def pick(self, adapters: tuple[str, ...], body: Mapping[str, Any]) -> int:
        """Return the place of the part that a request is for; the first where there are none, or nothing fits.

        Raises:
            NoPassages: there are several, and one has none.
        """
        if len(adapters) < 2:
            return 0
        shelf = await self._shelf(adapters)
        return await asyncio.to_thread(shelf.index.pick, _picked_by(body))

    async def find(
        self, adapters: tuple[str, ...], question: str, body: Mapping[str, Any], *, as_turns: bool
    ) -> Reading:
        """Return a version's best passages for a question, within the budget and what the engine has room for.

        Args:
            adapters: the version's own, or all its parts; any of them may have learned them.
            body: the request that they are for.
            as_turns: whether pairs and the best sentences are shown as answers given before; else all is prose.

        Raises:
            NoPassages: there is none; a request that needs them is never answered without any in silence.
        """
        shelf = await self._shelf(adapters)
        most = max(PASSAGES, self._tokens // _PASSAGE_TOKENS)
        hits = await asyncio.to_thread(shelf.index.search, question, most)
        if not hits:
            raise NoPassages("No passage of this memory shares a word with the question: ask it with mode adapter.")

        as_turns = as_turns and "messages" in body  # a prompt has none
        found = [shelf.cite(hit) for hit in hits]

        async def fit(seat: Seat) -> tuple[Reading, int, int]:
            url, count = seat.engine.url, self._sender.client.tokenize
            room = seat.engine.max_model_len - len(await count(url, _text(body))) - _around(body)
            lengths = await asyncio.gather(*[self._length(url, (adapters, hit.index), hit.text) for hit in hits])
            around = [_around_turns([one.shown]) if as_turns else 0 for one in found]
            takings = [sum(both) for both in zip(lengths, around, strict=True)]
            left, taken = min(room, self._tokens), []
            for one, taking in zip(found, takings, strict=True):
                if taking <= left:
                    left, room = left - taking, room - taking
                    taken.append(one)
                elif as_turns and one.answer_start:  # a worse pair in its place would be taken for the answer
                    break
            told: list[Shown] = []
            if as_turns:
                told = await asyncio.to_thread(best_sentences, question, [one.shown for one in taken])
            more = len(await count(url, "\n".join(one.text for one in told))) if told else 0
            fitting = told if more + _around_turns(told) <= room else []
            return Reading(taken, fitting, as_turns, seat.engine.takes_system), takings[0], left

        _, (reading, needed, left) = await self._sender.ask(None, fit)
        if not reading.cited:
            raise NoPassages(
                f"The best passage takes {needed} tokens and {max(0, left)} are left: ask for a shorter answer "
                "(max_tokens), or set LOREKEEP_CONTEXT_TOKENS higher."
            )
        return reading

    async def _length(self, url: str, key: tuple[tuple[str, ...], int], text: str) -> int:
        """Return a passage's length in tokens; a version is immutable, so it is counted once."""
        if key not in self._counts:
            self._counts[key] = len(await self._sender.client.tokenize(url, text))
            while len(self._counts) > _COUNTS:
                self._counts.popitem(last=False)
        return self._counts[key]

    async def _shelf(self, adapters: tuple[str, ...]) -> _Shelf:
        shelf = self._shelves.get(adapters)
        if shelf is None:
            shelf = await asyncio.to_thread(self._read, adapters)
        self._shelves[adapters] = shelf
        self._shelves.move_to_end(adapters)
        while len(self._shelves) > _INDEXES:
            self._shelves.popitem(last=False)
        return shelf

    def _read(self, adapters: tuple[str, ...]) -> _Shelf:
        try:
            parts = [self._artifacts.read_lines(AdapterName.parse(one), "passages.jsonl") for one in adapters]
        except NotFound as error:
            raise NoPassages("This memory has no passages: ask it with mode adapter.") from error
        index = PartIndex([[row["text"] for row in part] for part in parts])
        return _Shelf(index, [row for part in parts for row in part])


def question_of(body: Mapping[str, Any]) -> str:
    """Return the text that selection and retrieval go by: the user's last message with what it means, or the prompt.

    Raises:
        InvalidRequest: there is no such text.
    """
    if "messages" not in body:
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise InvalidRequest("To choose memories or passages by it, the prompt must be one text.", "prompt")
        return prompt[-MOST:]
    question = asked_about(_messages(body))
    if not question:
        raise InvalidRequest("To choose memories or passages there must be a user's message with text.", "messages")
    return question


def _picked_by(body: Mapping[str, Any]) -> str:
    """Return the text that a part is picked by; none is refused for having none."""
    try:
        return question_of(body)
    except InvalidRequest:
        prompts = body.get("prompt")
        return " ".join(one for one in prompts if isinstance(one, str))[-MOST:] if isinstance(prompts, list) else ""


def check_takes_passages(body: Mapping[str, Any]) -> None:
    """Refuse what passages cannot be put into.

    Raises:
        InvalidRequest: not every message is an object, or the last one is not the user's, as text.
    """
    if "messages" not in body:
        return
    messages = _messages(body)
    if messages != body["messages"]:
        raise InvalidRequest(
            "With memory.mode context or both every message must be an object with a role and a content.", "messages"
        )
    last = messages[-1:] or [{}]
    if last[0].get("role") != "user" or not isinstance(last[0].get("content"), str):
        raise InvalidRequest(
            "With memory.mode context or both the last message must be the user's, as text.", "messages"
        )


def _messages(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    messages = body.get("messages")
    return [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []


def _text(body: Mapping[str, Any]) -> str:
    """Return what of a request's text comes to the engine's prompt."""
    messages = _messages(body)
    called = [one["tool_calls"] for one in messages if one.get("tool_calls")]
    texts = [text_of(one.get("content")) for one in messages] or [str(body.get("prompt", ""))]
    return "\n\n".join([*texts, *(json.dumps(one) for one in [*called, body.get("tools")] if one)])


def _around_turns(shown: Sequence[Shown]) -> int:
    """Return how many tokens a chat template may add where passages are turns."""
    return 2 * _MESSAGE_TOKENS * sum(one.answer_start > 0 for one in shown)


def _around(body: Mapping[str, Any]) -> int:
    """Return how many tokens the answer and the chat template may take."""
    asked = [body.get(name) for name in ("max_completion_tokens", "max_tokens")]
    answer = next((one for one in asked if isinstance(one, int | float) and one > 0), ANSWER_TOKENS)
    return int(answer) + _PROMPT_TOKENS + _MESSAGE_TOKENS * len(_messages(body))
