"""One client serves as many at once as there are."""

import asyncio

import pytest

from app.stores.redis import CONNECTIONS, Registry

pytestmark = pytest.mark.redis


async def test_more_commands_at_once_than_there_are_connections_wait_and_succeed(redis: Registry) -> None:
    counted = await asyncio.gather(*(redis.incr("n") for _ in range(3 * CONNECTIONS)))

    assert sorted(counted) == list(range(1, 3 * CONNECTIONS + 1))
