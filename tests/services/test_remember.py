"""What was accepted keeps its documents, whatever becomes of the reply; what was not leaves none."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
import pytest
from redis.exceptions import ConnectionError

from app.core.memory import Memory
from app.errors import MemoryNotFound
from app.services.drafts import Ask, Options
from app.services.plan import Planner
from app.services.rebuild import rebuild
from app.services.remember import UPLOAD_S, Rememberer, Upload
from app.stores.erasures import Debt
from app.stores.memories import MemoryStore
from app.stores.queue import TrainingQueue
from tests.api.conftest import World, http, settings, world
from tests.stores.lost_replies import CutOff, SentTwice

__all__ = ["http", "settings", "world"]
pytestmark = pytest.mark.redis
ADA = [Upload("a.md", b"Ada was born in 1815.")]
BOB = [Upload("b.md", b"Bob was born in 1901.")]
EVE = [Upload("e.md", b"Eve was born in 1950.")]


def rememberer_on(world: World, redis: Any) -> Rememberer:
    """Return a rememberer whose memories are created by another client of the same registry."""
    gateway = world.gateway
    queue = TrainingQueue(world.settings.registry_url)
    return Rememberer(MemoryStore(redis), gateway.versions, gateway.artifacts, queue, gateway.planner)


def growing(world: World, happens: Callable[[], Awaitable[object]]) -> Rememberer:
    """Return a rememberer during whose planning something else happens."""
    gateway = world.gateway
    planner: Any = Meanwhile(gateway.planner, happens)
    queue = TrainingQueue(world.settings.registry_url)
    return Rememberer(gateway.memories, gateway.versions, gateway.artifacts, queue, planner)


async def kept(world: World) -> tuple[list[Memory], int]:
    """Return the memories that there are, and how many files of theirs."""
    memories, _ = await world.gateway.memories.page("acme", limit=10)
    return memories, len((await world.traces())[1])


@pytest.mark.parametrize("key", [None, "one"])
async def test_a_memory_whose_creation_is_sent_again_keeps_its_documents(world: World, key: str | None) -> None:
    memory_id = await rememberer_on(world, SentTwice(world.redis)).remember("acme", "ada", ADA, Options(), key=key)
    [memory], files = await kept(world)

    assert (memory.id, files) == (memory_id, 3)


@pytest.mark.parametrize("error", [ConnectionError(), asyncio.CancelledError()], ids=repr)
@pytest.mark.parametrize(("applied", "files"), [(True, 3), (False, 0)])
async def test_documents_stay_with_a_memory_whose_acceptance_was_not_heard_of_and_only_then(
    world: World, error: BaseException, applied: bool, files: int
) -> None:
    cut_off = CutOff(world.redis, error, applied=applied)
    with pytest.raises(type(error)):
        await rememberer_on(world, cut_off).remember("acme", "ada", ADA, Options())

    await world.gateway.rememberer.drop_left_behind(time.time())
    memories, left = await kept(world)
    assert (len(memories), left) == (int(applied), files)


async def test_documents_stay_where_nobody_can_say_whether_they_were_accepted(world: World) -> None:
    away = CutOff(world.redis, ConnectionError(), applied=True, away=True)
    with pytest.raises(ConnectionError):
        await rememberer_on(world, away).remember("acme", "ada", ADA, Options())

    await world.gateway.rememberer.drop_left_behind(time.time())
    memories, left = await kept(world)
    assert (len(memories), left) == (1, 3)


async def cut_off_upload(world: World, name: str, uploads: Sequence[Upload]) -> None:
    """Upload what never reaches the registry, of which nobody can be told so."""
    away = CutOff(world.redis, ConnectionError(), applied=False, away=True)
    with pytest.raises(ConnectionError):
        await rememberer_on(world, away).remember("acme", name, uploads, Options())


async def test_what_was_never_accepted_is_erased_once_no_upload_can_be_under_way(
    world: World,
) -> None:
    await cut_off_upload(world, "ada", ADA)
    await world.gateway.rememberer.drop_left_behind(time.time())
    _, at_first = await kept(world)
    await world.gateway.rememberer.drop_left_behind(time.time() + UPLOAD_S + 1)

    assert at_first == 4
    assert await kept(world) == ([], 0)


async def test_what_was_never_accepted_is_not_rebuilt_and_does_not_keep_out_what_was(world: World) -> None:
    await cut_off_upload(world, "ada", ADA)
    accepted = await world.gateway.rememberer.remember("acme", "ada", ADA, Options())
    await world.redis.flushall()
    done = await rebuild(world.settings)
    [memory], _ = await kept(world)

    assert (memory.id, memory.name, done["queued"], done["name_taken"]) == (accepted, "ada", 1, 0)


class Meanwhile:
    """A planner during whose work something else happens."""

    def __init__(self, planner: Planner, happens: Callable[[], Awaitable[object]]) -> None:
        self._planner, self._happens = planner, happens

    async def draft(self, *args: Any) -> Any:
        await self._happens()
        return await self._planner.draft(*args)


async def test_documents_kept_after_their_memory_was_erased_are_erased_too(world: World) -> None:
    memory_id = await world.gateway.rememberer.remember("acme", "ada", ADA, Options())
    memory = await world.gateway.memories.get("acme", memory_id)
    eraser = world.gateway.eraser
    eraser.__dict__["_try"] = _nothing

    async def delete() -> None:
        await eraser.bury(memory, world.gateway.rememberer)
        await eraser.settle(Debt("acme", memory_id))

    with pytest.raises(MemoryNotFound):
        await growing(world, delete).add_documents(memory, BOB, Ask())

    assert not list(world.settings.home.rglob(f"*{memory_id}*"))


async def _nothing(_: Debt) -> None:
    return None


async def test_what_is_changed_while_documents_are_read_stays_in_the_record_that_restores_a_memory(
    world: World, http: httpx.AsyncClient
) -> None:
    memory_id = await world.gateway.rememberer.remember("acme", "ada", ADA, Options())
    memory = await world.gateway.memories.get("acme", memory_id)

    async def rename() -> None:
        await http.patch(f"/v1/memories/{memory_id}", json={"name": "eve", "metadata": {"k": "v"}, "pinned": True})

    await growing(world, rename).add_documents(memory, BOB, Ask())
    record = world.gateway.artifacts.read_memory("acme", memory_id)
    grown = await world.gateway.memories.get("acme", memory_id)

    assert (record["memory"]["name"], record["memory"]["metadata"], record["memory"]["pinned"]) == (
        "eve",
        {"k": "v"},
        True,
    )
    assert (record["memory"]["latest"], record["memory"]["content"]) == (2, grown.content)
    assert [ref["name"] for ref in record["version"]["documents"]] == ["a.md", "b.md"]


async def test_changes_made_at_once_are_all_noted(world: World, http: httpx.AsyncClient) -> None:
    memory_id = await world.gateway.rememberer.remember("acme", "ada", ADA, Options())
    path = f"/v1/memories/{memory_id}"
    await asyncio.gather(
        *[http.patch(path, json=fields) for fields in ({"name": "eve"}, {"pinned": True}, {"generalist": True})],
        http.post(f"{path}/cancel"),
    )
    record = world.gateway.artifacts.read_memory("acme", memory_id)

    assert [record["memory"][name] for name in ("name", "pinned", "generalist")] == ["eve", True, True]
    assert record["version"]["state"] == "cancelled"


async def test_documents_added_twice_at_once_to_one_gateway_make_two_versions_of_all(world: World) -> None:
    rememberer = world.gateway.rememberer
    memory_id = await rememberer.remember("acme", "ada", ADA, Options())
    memory = await world.gateway.memories.get("acme", memory_id)
    await asyncio.gather(*[rememberer.add_documents(memory, more, Ask()) for more in (BOB, EVE)])
    latest = await world.gateway.versions.get("acme", memory_id, 3)

    assert {ref.name for ref in latest.documents} == {"a.md", "b.md", "e.md"}
    assert world.gateway.artifacts.read_memory("acme", memory_id)["version"]["number"] == 3
