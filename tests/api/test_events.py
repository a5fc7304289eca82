"""Events over HTTP: from the beginning, from anywhere, to the end."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from app.api.gateway import STREAM_CONNECTIONS
from app.core.lifecycle import State
from app.stores.redis import CONNECTIONS
from tests.api.conftest import World

pytestmark = pytest.mark.redis


async def remember(http: httpx.AsyncClient) -> str:
    body = {"name": "ada", "documents": [{"name": "a.md", "text": "Ada."}]}
    return str((await http.post("/v1/memories", json=body)).json()["id"])


async def finish(world: World, memory_id: str) -> None:
    """Let a version fail, be tried again and be cancelled."""
    for state in (State.PREPARING, State.FAILED, State.QUEUED, State.CANCELLED):
        await world.gateway.versions.change(await world.gateway.versions.get("acme", memory_id, 1), state)


def events(text: str) -> list[dict[str, Any]]:
    rows = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n")]
    return [{**row, "data": json.loads(row["data"])} for row in rows if "data" in row]


async def test_events_tell_everything_and_end_with_the_last_versions_end(world: World, http: httpx.AsyncClient) -> None:
    memory_id = await remember(http)
    await finish(world, memory_id)
    reply = await http.get(f"/v1/memories/{memory_id}/events")
    told = events(reply.text)

    assert reply.headers["content-type"].startswith("text/event-stream")
    assert {event["event"] for event in told} == {"state"}
    assert [event["data"]["state"] for event in told] == ["queued", "preparing", "failed", "queued", "cancelled"]


@pytest.mark.parametrize("by", ["header", "query"])
async def test_events_resume_after_the_one_that_was_seen_last(world: World, http: httpx.AsyncClient, by: str) -> None:
    memory_id = await remember(http)
    await finish(world, memory_id)
    path = f"/v1/memories/{memory_id}/events"
    told = events((await http.get(path)).text)
    rest = []
    for event in told:
        how: dict[str, Any] = (
            {"headers": {"Last-Event-ID": event["id"]}} if by == "header" else {"params": {"after": event["id"]}}
        )
        rest.append(len(events((await http.get(path, **how)).text or "")) if event is not told[-1] else 0)

    assert rest == [4, 3, 2, 1, 0]


async def test_resuming_after_the_last_event_ends_at_once(world: World, http: httpx.AsyncClient) -> None:
    memory_id = await remember(http)
    await finish(world, memory_id)
    last = events((await http.get(f"/v1/memories/{memory_id}/events")).text)[-1]["id"]
    reply = await http.get(f"/v1/memories/{memory_id}/events", headers={"Last-Event-ID": last})

    assert (reply.status_code, reply.text) == (200, "")


async def test_events_arrive_while_they_happen_and_stop_with_the_client(world: World, http: httpx.AsyncClient) -> None:
    memory_id = await remember(http)
    line = world.open(f"/v1/memories/{memory_id}/events")
    start, first = await line.next(), await line.next()
    await world.gateway.versions.change(await world.gateway.versions.get("acme", memory_id, 1), State.PREPARING)
    second = await line.next()
    await line.leave()

    assert start["status"] == 200
    assert b'"queued"' in first["body"]
    assert b'"preparing"' in second["body"]


async def test_streams_that_wait_for_events_hold_nobody_up(world: World, http: httpx.AsyncClient) -> None:
    memory_id = await remember(http)
    lines = [world.open(f"/v1/memories/{memory_id}/events") for _ in range(CONNECTIONS + STREAM_CONNECTIONS)]
    for line in lines:
        await line.next()
        await line.next()
    async with asyncio.timeout(5):
        reply = await http.get("/v1/memories")
    for line in lines:
        await line.leave()

    assert reply.status_code == 200


async def test_events_end_when_the_memory_is_deleted(world: World, http: httpx.AsyncClient) -> None:
    memory_id = await remember(http)
    line = world.open(f"/v1/memories/{memory_id}/events")
    bodies = [await line.next(), await line.next()]
    await http.delete(f"/v1/memories/{memory_id}")
    while bodies[-1].get("more_body", True):
        bodies.append(await line.next())
    await line.leave()

    assert b'"cancelled"' in b"".join(message.get("body", b"") for message in bodies)


@pytest.mark.parametrize("event_id", ["x", "1-", "-1", "1-2-3", "9" * 40, "$", "1 2"])
async def test_an_id_that_is_no_events_is_a_400(http: httpx.AsyncClient, event_id: str) -> None:
    memory_id = await remember(http)
    replies = [
        await http.get(f"/v1/memories/{memory_id}/events", headers={"Last-Event-ID": event_id}),
        await http.get(f"/v1/memories/{memory_id}/events", params={"after": event_id}),
    ]

    assert [reply.status_code for reply in replies] == [400, 400]
