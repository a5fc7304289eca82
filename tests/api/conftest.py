"""A gateway on a real registry, a folder of artifacts and two engines that are not there."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.types import Message

from app.api.app import create_app
from app.api.gateway import Gateway
from app.core.context import Shown
from app.core.lifecycle import State
from app.core.memory import Memory, Version
from app.core.names import AdapterName
from app.core.roles import Role
from app.services.remember import to_record
from app.settings import Settings
from app.stores.redis import Registry
from tests.api.fake_engine import BASE_DIGEST, Engine, transport
from tests.factories import a_memory, a_version

ADMIN = "lk_admin"


@dataclass
class World:
    """Everything a test of the API touches."""

    app: FastAPI
    settings: Settings
    redis: Registry
    engines: list[Engine]

    @property
    def gateway(self) -> Gateway:
        """The gateway's parts."""
        gateway: Gateway = self.app.state.gateway
        return gateway

    def client(self, secret: str | None = ADMIN) -> httpx.AsyncClient:
        """Return a client with a key, or without."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        carrier = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=carrier, base_url="http://gateway", headers=headers)

    async def as_(self, tenant: str, role: Role = Role.WRITER) -> httpx.AsyncClient:
        """Return a client with a new key."""
        _, secret = await self.gateway.keys.create(tenant, role)
        return self.client(secret)

    async def report(self, *engines: Engine, holding: tuple[str, ...] = ()) -> None:
        """Let engines report, and the gateway look."""
        for engine in engines or self.engines:
            await engine.report(self.gateway.engines, *holding)
        await self.gateway.fleet.refresh()

    async def ready(
        self,
        name: str,
        tenant: str = "acme",
        passages: tuple[str | Shown, ...] = (),
        number: int = 1,
        scores: dict[str, float] | None = None,
    ) -> "Ready":
        """Make a memory that serves, with the files of its version."""
        memory = a_memory(tenant=tenant, name=name, latest=number)
        adapter = AdapterName(tenant, memory.id, number, f"{number:x}" * 12)
        version = a_version(memory, state=State.READY, adapter=str(adapter), digest=f"{number:x}" * 64)
        version = dataclasses.replace(version, scores=scores or {})
        await self.gateway.memories.create(memory, version)
        await self.gateway.versions.restore(version)
        await self.gateway.memories.update(tenant, memory.id, {"current": number})
        write_version(self.settings, adapter, passages)
        return Ready(memory, str(adapter))

    async def ready_in_parts(self, name: str, passages: Sequence[tuple[str, ...]]) -> Version:
        """Make a memory whose version has a part for each of these groups of passages."""
        memory = a_memory(tenant="acme", name=name)
        parts = [AdapterName("acme", memory.id, 1, f"{number:x}" * 12) for number in range(1, len(passages) + 1)]
        names = tuple(map(str, parts))
        facts: dict[str, Any] = {"adapter": names[0], "parts": names, "digest": "1" * 64, "size_bytes": 4 * len(parts)}
        queued = a_version(memory)
        version = dataclasses.replace(queued, state=State.READY, **facts)
        await self.gateway.memories.create(memory, queued)
        await self.gateway.versions.restore(version)
        await self.gateway.memories.update("acme", memory.id, {"current": 1})
        for adapter, own in zip(parts, passages, strict=True):
            write_version(self.settings, adapter, own, published=False)
        self.gateway.artifacts.write_memory("acme", memory.id, to_record(memory, queued))
        self.gateway.artifacts.mark_published(parts[0], {"adapter": 1.0}, names)
        return version

    def open(self, path: str, body: dict[str, Any] | None = None, secret: str = ADMIN) -> "Line":
        """Send a request whose reply is read piece by piece, and which can be broken off."""
        return Line(self.app, path, body, secret)

    async def traces(self) -> tuple[set[str], set[str]]:
        """Return every key of the registry and every file, to see that a refusal left none."""
        keys = {key async for key in self.redis.scan_iter()}
        root = self.settings.home / "artifacts"
        return keys, {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Ready:
    """A memory that serves, and the adapter that does."""

    memory: Memory
    adapter: str


class Line:
    """One HTTP connection as a server gives it to the app."""

    def __init__(self, app: FastAPI, path: str, body: dict[str, Any] | None, secret: str) -> None:
        data = json.dumps(body).encode() if body is not None else b""
        self._left = asyncio.Event()
        self._sent = [{"type": "http.request", "body": data, "more_body": False}]
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST" if body is not None else "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "scheme": "http",
            "server": ("gateway", 80),
            "client": ("client", 1),
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._keep))

    async def next(self) -> dict[str, Any]:
        """Return the next message of the reply."""
        async with asyncio.timeout(5):
            return await self._messages.get()

    async def leave(self) -> None:
        """Break the connection off and wait until the app is through with it."""
        self._left.set()
        async with asyncio.timeout(5):
            await self.task

    async def _keep(self, message: Message) -> None:
        await self._messages.put(dict(message))

    async def _receive(self) -> dict[str, Any]:
        if self._sent:
            return self._sent.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}


def write_version(
    settings: Settings,
    adapter: AdapterName,
    passages: tuple[str | Shown, ...] = (),
    *,
    published: bool = True,
    base: str = BASE_DIGEST,
) -> None:
    """Write the files of a version as a trainer leaves them."""
    folder = settings.home / "artifacts" / adapter.folder
    folder.mkdir(parents=True)
    manifest = {
        "name": str(adapter),
        "digest": adapter.digest12 * 5 + "0000",
        "size_bytes": 4,
        "recipe": {},
        "documents": [{"name": "a.md", "digest": "d" * 64, "kind": "prose", "size_bytes": 10}],
        "base": {"digest": base, "name": "tiny"},
        "created_at": 1.0,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"\0\0\0\0")
    shown = [one if isinstance(one, Shown) else Shown(one) for one in passages]
    rows = [{**dataclasses.asdict(one), "document": "a.md", "index": index} for index, one in enumerate(shown)]
    (folder / "passages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if published:
        (folder / "published.json").write_text(json.dumps({"published_at": 2.0, "scores": {"adapter": 1.0}}))


@pytest.fixture
def settings(registry_url: str, tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path,
        redis_url=registry_url,
        admin_key=SecretStr(ADMIN),
        tenant="acme",
        max_upload_bytes=100_000,
        max_import_bytes=200_000,
        engine_max_body_bytes=50_000,
        admission_wait="PT0.3S",
        erase_grace="PT0S",
    )


@pytest.fixture
async def world(redis: Registry, settings: Settings) -> AsyncIterator[World]:
    engines = [Engine("one"), Engine("two")]
    async with httpx.AsyncClient(transport=transport(*engines)) as http:
        app = create_app(settings, redis=redis, http=http)
        async with app.router.lifespan_context(app):
            yield World(app, settings, redis, engines)


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client() as client:
        yield client
