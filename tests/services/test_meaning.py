"""Embeddings choose beside the words, and nothing fails with their endpoint."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.core.names import AdapterName
from app.core.selection import Serving
from app.engines.embeddings import EmbeddingsClient
from app.errors import EmbeddingsFailed
from app.services.meaning import VERSIONS, Meaning, Near
from app.stores.artifacts import ArtifactStore
from tests.factories import memory_id

FERRY, DAIRY = "The ferry to Kettle Island takes 35 minutes.", "Maren Iskold directs the dairy."
TOPICS = (("ferry", "boat"), ("dairy", "cheese"))


@dataclass
class Endpoint:
    """An embeddings endpoint to which a boat is a ferry."""

    texts: list[str] = field(default_factory=list)
    status: int = 200
    reply: object = None
    more: list[float] = field(default_factory=list)  # that end each vector
    meanwhile: Callable[[list[str]], None] = lambda texts: None

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        assert request.headers["authorization"] == "Bearer secret"
        assert request.url.path == "/v1/embeddings"
        texts = json.loads(request.content)["input"]
        self.texts += texts
        self.meanwhile(texts)
        rows = [{"index": at, "embedding": [*_vector(text), *self.more]} for at, text in enumerate(texts)]
        return httpx.Response(self.status, json=self.reply or {"data": rows[::-1]})


def _vector(text: str) -> list[float]:
    return [0.1, *(float(any(word in text.lower() for word in topic)) for topic in TOPICS)]


@dataclass
class Place:
    """Two versions with their files, and an endpoint."""

    artifacts: ArtifactStore
    http: httpx.AsyncClient
    endpoint: Endpoint
    servings: list[Serving]

    def meaning(self, url: str = "http://vectors/v1/", most: int = VERSIONS) -> Meaning:
        """Return one that knows nothing yet, as after a start."""
        client = EmbeddingsClient(self.http, url, SecretStr("secret"), "small")
        return Meaning(client, self.artifacts, most)


async def learned(meaning: Meaning, place: Place, question: str) -> Near | None:
    """Ask once in vain, wait until the vectors are there, and ask again."""
    assert await meaning.near("acme", place.servings, question) is None
    await meaning.settle()
    return await meaning.near("acme", place.servings, question)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    servings = []
    for name, text in (("ferry", FERRY), ("dairy", DAIRY)):
        adapter = AdapterName("acme", memory_id(), 1, "1" * 12)
        folder = tmp_path / "artifacts" / adapter.folder
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        (folder / "passages.jsonl").write_text(json.dumps({"text": text}))
        (folder / "questions.jsonl").write_text(json.dumps({"question": text}))
        servings.append(Serving(adapter.owner, 1, (str(adapter),), name))
    endpoint = Endpoint()
    artifacts = ArtifactStore((tmp_path / "artifacts").as_uri(), tmp_path / "cache")
    async with httpx.AsyncClient(transport=httpx.MockTransport(endpoint.handle)) as http:
        yield Place(artifacts, http, endpoint, servings)


async def test_a_memory_is_near_a_question_that_shares_its_meaning_and_no_word(place: Place) -> None:
    near = await learned(place.meaning(), place, "Is there a boat?")
    ferry, dairy = place.servings

    assert near is not None
    assert near.similarities[ferry.memory_id] > near.threshold > near.similarities[dairy.memory_id]


async def test_what_was_embedded_once_is_kept_over_a_restart_and_erased_with_its_memory(place: Place) -> None:
    await learned(place.meaning(), place, "Is there a boat?")
    place.endpoint.texts.clear()
    await learned(place.meaning(), place, "Is there a boat?")
    name = AdapterName.parse(place.servings[0].adapters[0])
    [kept] = place.artifacts.cache_path(name, "").parent.iterdir()
    place.artifacts.erase_memory("acme", name.owner)

    assert FERRY not in place.endpoint.texts
    assert not kept.exists()


async def test_vectors_of_one_endpoint_are_never_compared_with_those_of_another(place: Place) -> None:
    await learned(place.meaning(), place, "Is there a boat?")
    place.endpoint.texts.clear()
    await learned(place.meaning("http://others/v1"), place, "Is there a boat?")

    assert FERRY in place.endpoint.texts


async def test_kept_vectors_of_another_length_are_made_anew(place: Place) -> None:
    await learned(place.meaning(), place, "Is there a boat?")
    place.endpoint.more = [0.1]
    near = await learned(place.meaning(), place, "Is there a boat?")

    assert near is not None
    assert near.similarities[place.servings[0].memory_id] > near.threshold


async def test_an_endpoint_whose_vectors_change_their_length_leaves_the_words_until_all_are_made_anew(
    place: Place,
) -> None:
    meaning = place.meaning()
    await learned(meaning, place, "Is there a boat?")
    place.endpoint.more = [0.1]

    assert await meaning.near("acme", place.servings, "Is there a boat?") is None
    assert await learned(meaning, place, "Is there a boat?") is not None


async def test_a_version_that_is_first_to_meet_vectors_of_another_length_is_learned_with_the_next_question(
    place: Place,
) -> None:
    meaning, new = place.meaning(), place.servings.pop()
    await learned(meaning, place, "Is there a boat?")
    place.endpoint.more, place.servings[:] = [0.1], [new]
    first = await learned(meaning, place, "Is there cheese?")

    assert first is None
    assert await learned(meaning, place, "Is there cheese?") is not None


async def test_where_nothing_is_left_by_the_time_the_question_is_embedded_the_words_choose(place: Place) -> None:
    meaning = place.meaning()
    await learned(meaning, place, "Is there a boat?")
    place.endpoint.meanwhile = lambda texts: meaning.keep("acme", [])

    assert await meaning.near("acme", place.servings, "Is there a boat?") is None


async def test_an_endpoint_that_fails_leaves_the_words_and_is_left_alone_for_a_while(place: Place) -> None:
    meaning = place.meaning()
    known = await learned(meaning, place, "Is there a boat?")
    place.endpoint.status = 500
    failed = await meaning.near("acme", place.servings, "Is there a boat?")
    place.endpoint.status = 200
    place.endpoint.texts.clear()

    assert known is not None
    assert failed is None
    assert await meaning.near("acme", place.servings, "Is there a boat?") is None
    assert place.endpoint.texts == []


async def test_a_version_whose_files_are_gone_is_embedded_by_nobody(place: Place) -> None:
    place.artifacts.erase_memory("acme", place.servings[0].memory_id)
    near = await learned(place.meaning(), place, "Is there a boat?")

    assert near is not None
    assert set(near.similarities) == {place.servings[1].memory_id}


async def test_a_memory_with_parts_is_as_near_as_its_nearest_part_once_all_are_there(place: Place) -> None:
    ferry, dairy = place.servings
    place.servings[:] = [Serving(dairy.memory_id, 1, (*dairy.adapters, *ferry.adapters), "both")]
    meaning = place.meaning()
    near = await learned(meaning, place, "Is there a boat?")
    meaning.keep("acme", dairy.adapters)

    assert near is not None
    assert near.similarities[dairy.memory_id] > near.threshold
    assert await meaning.near("acme", place.servings, "Is there a boat?") is None


async def test_what_no_longer_serves_is_forgotten(place: Place) -> None:
    meaning = place.meaning()
    await learned(meaning, place, "Is there a boat?")
    meaning.keep("acme", place.servings[1].adapters)
    near = await meaning.near("acme", place.servings[1:], "Is there a boat?")

    assert near is not None
    assert set(near.similarities) == {place.servings[1].memory_id}


async def test_what_is_forgotten_while_it_is_embedded_does_not_come_back(place: Place) -> None:
    meaning, ferry = place.meaning(), place.servings[:1]

    def delete(texts: list[str]) -> None:
        if FERRY in texts:
            meaning.keep("acme", place.servings[1].adapters)

    place.endpoint.meanwhile = delete
    await meaning.near("acme", place.servings, "Is there a boat?")
    await meaning.settle()

    assert await meaning.near("acme", ferry, "Is there a boat?") is None
    assert await meaning.near("acme", place.servings[1:], "Is there a boat?") is not None


async def test_the_vectors_of_tenants_that_asked_longest_ago_make_room_and_are_read_again(place: Place) -> None:
    meaning = place.meaning(most=3)
    for tenant in ("acme", "other", "acme"):
        assert await meaning.near(tenant, place.servings, "Is there a boat?") is None
        await meaning.settle()
        assert await meaning.near(tenant, place.servings, "Is there a boat?") is not None

    assert place.endpoint.texts.count(FERRY) == 2  # a passage and a question, once


async def test_vectors_are_joined_and_compared_in_threads_and_joined_once_while_the_tenant_has_not_changed(
    place: Place,
) -> None:
    class Noting(ThreadPoolExecutor):
        calls = 0

        def submit(self, *args: Any, **named: Any) -> Future[Any]:
            self.calls += 1
            return super().submit(*args, **named)

    meaning = place.meaning()
    for tenant in ("acme", "other"):
        await meaning.near(tenant, place.servings, "Is there a boat?")
        await meaning.settle()
    asyncio.get_running_loop().set_default_executor(threads := Noting())
    counts = []
    for changed, there in (("", place.servings), ("other", place.servings), ("acme", place.servings[:1])):
        meaning.keep(changed, place.servings[0].adapters)
        before, near = threads.calls, await meaning.near("acme", there, "Is there a boat?")
        counts.append(threads.calls - before if near else 0)

    assert counts == [2, 1, 2]


@pytest.mark.parametrize(
    "reply", [{"data": []}, {"data": 7}, [1], {"data": [{"index": 0, "embedding": ["x"]}]}, {"x": 1}]
)
async def test_a_reply_that_holds_no_vectors_is_a_failure(place: Place, reply: object) -> None:
    place.endpoint.reply = reply
    client = EmbeddingsClient(place.http, "http://vectors", SecretStr("secret"), "small")

    with pytest.raises(EmbeddingsFailed):
        await client.embed(["text"])
