"""The connection to the registry: one client a process, with retries that survive a server restart."""

from typing import Any, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError

CONNECTIONS, CONNECTION_WAIT_S = 100, 10.0

Registry: TypeAlias = Any  # redis-py types replies as `bytes | str` whatever decode_responses says


def connect(
    url: str, *, retries: int = 12, connections: int = CONNECTIONS, wait_s: float | None = CONNECTION_WAIT_S
) -> Registry:
    """Open a client whose commands wait out a restarting server, and each other where all connections are in use.

    Args:
        url: `redis://…`, `rediss://…` or `unix://<path>`.
        retries: tries after the first, 50 ms apart at first and 2 s at most: 12 give a server about 15 s.
        connections: at most.
        wait_s: how long a command waits for one that is free; None for ever.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=wait_s,
        decode_responses=True,
        retry=Retry(ExponentialBackoff(cap=2.0, base=0.05), retries),
        retry_on_error=[ConnectionError, TimeoutError, BusyLoadingError],
        socket_connect_timeout=5,
        socket_timeout=30,
        health_check_interval=15,
    )
    return Redis.from_pool(pool)
