"""A second engine joins a running installation, is used, and stands in when the first one dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.settings import Settings
from tests.e2e.facts import SMALL
from tests.e2e.memories import answer
from tests.e2e.stack import Stack, free_port
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e

NAME, PAIRS = list(SMALL.items())[1]
SECOND = "second"


@pytest.fixture(scope="module")
def second(stack: Stack, model: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An engine started alone, from nothing but its environment; ends with the module."""
    settings = {
        "LOREKEEP_HOME": str(stack.home),
        "LOREKEEP_REDIS_URL": Settings(_env_file=None, home=stack.home).registry_url,
        "LOREKEEP_BASE_MODEL": str(model),
        "LOREKEEP_ENGINE_ID": SECOND,
        "LOREKEEP_ENGINE_PORT": str(free_port()),
        "LOREKEEP_KV_CACHE_GIB": "1",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOREKEEP_")} | settings
    command: list[str | Path] = [Path(sys.executable).with_name("lorekeep"), "engine"]
    with (stack.home / "second.out").open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            wait_for_engines(stack, 2, process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for_engines(stack: Stack, count: int, process: subprocess.Popen[bytes] | None = None) -> set[str]:
    """Wait until the gateway knows so many live engines; return their ids."""

    def so_many() -> set[str] | None:
        assert process is None or process.poll() is None, (stack.home / "second.out").read_text()[-3000:]
        ids = {engine["id"] for engine in http.get("/v1/engines").json()["data"]}
        return ids if len(ids) == count else None

    with stack.http() as http:
        return wait_until(so_many, 600, lambda: f"there are not {count} live engines: {stack.logs()}")


def holders_of(stack: Stack, memory_id: str) -> set[str]:
    """Return which engines hold a memory's adapter."""
    with stack.http() as http:
        adapters = http.get("/v1/adapters").json()["data"]
    return {held["engine"] for one in adapters if one["memory_id"] == memory_id for held in one["engines"]}


def test_a_second_engine_serves_what_only_the_first_holds_once_the_first_is_dead(
    stack: Stack, small: dict[str, str], second: subprocess.Popen[bytes]
) -> None:
    client = stack.openai(max_retries=8, timeout=60)
    memory_id = small[NAME]
    with ThreadPoolExecutor(8) as pool:
        before = list(pool.map(lambda question: answer(client, memory_id, question), PAIRS))
    holders = holders_of(stack, memory_id)
    assert len(holders) == 1
    assert sum(map(str.__eq__, before, PAIRS.values())) >= 7

    if holders == {SECOND}:
        second.kill()
    else:
        stack.part("workers.engine").kill()
    survivor = wait_for_engines(stack, 1)
    with ThreadPoolExecutor(8) as pool:
        after = list(pool.map(lambda question: answer(client, memory_id, question), PAIRS))

    assert survivor.isdisjoint(holders)
    assert after == before
    stack.wait_ready()
