"""A gateway whose environment names a proxy."""

import asyncio
import dataclasses

import pytest

from app.api.app import create_app
from app.settings import Settings
from app.stores.redis import Registry
from tests.api.conftest import World
from tests.api.fake_engine import Engine
from tests.proxy import proxied

pytestmark = pytest.mark.redis


async def test_engines_are_asked_directly_and_embeddings_elsewhere_by_the_environments_proxy(
    redis: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.model_copy(update={"embeddings_url": "http://models.example/v1"})
    app = create_app(settings, redis=redis)
    body = {
        "model": "base",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "memory": {"ids": "auto"},
    }
    with proxied(monkeypatch) as proxy:
        async with app.router.lifespan_context(app):
            world = World(app, settings, redis, [])
            await world.ready("ferry", passages=("The ferry to Kettle Island takes 35 minutes.",))
            await world.gateway.engines.report(dataclasses.replace(Engine("one").record(), url=proxy.url), 60)
            await world.gateway.fleet.refresh()
            async with world.client() as http:
                reply = await http.post("/v1/chat/completions", json=body)
            await asyncio.to_thread(proxy.wait_for, "http://models.example/v1/embeddings")

    assert reply.status_code == 200, reply.text
    assert sorted(proxy.asked) == ["/v1/chat/completions", "http://models.example/v1/embeddings"]
