"""A gateway on a real registry, a folder of artifacts and two engines that are not there."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.api.gateway import Gateway
from app.main import create_app
from app.settings import Settings
from app.stores.keys import Role
from app.stores.redis import Registry
from tests.api.fake_engine import Engine, transport

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

    async def traces(self) -> tuple[set[str], set[str]]:
        """Return every key of the registry and every file, to see that a refusal left none."""
        keys = {key async for key in self.redis.scan_iter()}
        root = self.settings.home / "artifacts"
        return keys, {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def settings(registry_url: str, tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path,
        redis_url=registry_url,
        admin_key=SecretStr(ADMIN),
        tenant="acme",
        max_upload_bytes=100_000,
        engine_max_body_bytes=50_000,
        admission_wait="PT0.3S",  # type: ignore[arg-type]
        erase_grace="PT0S",  # type: ignore[arg-type]
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
