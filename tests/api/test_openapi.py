"""The OpenAPI document, and what schemathesis makes of it: whatever is sent, no 5xx and no undocumented reply."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.app import create_app
from app.settings import Settings
from app.stores.bases import BaseStore
from app.stores.engines import EngineStore
from app.stores.redis import connect
from tests.api.conftest import World
from tests.api.fake_engine import Engine, transport
from tests.factories import SHAPE

EXAMPLES = 40
OPEN = {"/healthz", "/readyz"}


@pytest.fixture(scope="module")
def served(registry_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway on a port of its own, with a live engine that is not there."""
    engine = Engine("one")
    asyncio.run(_register(registry_url, engine))
    home: Path = tmp_path_factory.mktemp("home")
    own = Settings(home=home, redis_url=registry_url, admin_key=SecretStr("lk_admin"), tenant="acme")
    app = create_app(own, http=httpx.AsyncClient(transport=transport(engine)))
    # not uvloop: outside the main thread it does not see its children end
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", loop="asyncio"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


async def _register(url: str, engine: Engine) -> None:
    redis = connect(url)
    await redis.flushall()
    await EngineStore(redis).report(engine.record(), 600)
    await BaseStore(redis).describe(SHAPE)
    await redis.aclose()


HEADERS = {"Authorization": "Bearer lk_admin"}


DOCUMENT = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.redis
@DOCUMENT.parametrize()  # type: ignore[untyped-decorator]
@hypothesis_settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
def test_whatever_is_sent_is_answered_as_the_document_says(case: schemathesis.Case, served: str) -> None:
    case.call_and_validate(served, headers=HEADERS, checks=CHECKS, timeout=20)


@pytest.mark.redis
async def test_every_call_is_described_with_its_errors_and_its_key(world: World) -> None:
    document = world.app.openapi()
    calls = [(path, call) for path, item in document["paths"].items() for call in item.values()]

    assert len(calls) > 25
    for path, call in calls:
        assert len(call["description"]) > 12, path
        if path not in OPEN:
            assert call["security"] == [{"HTTPBearer": []}], path
            assert call["responses"]["401"]["content"]["application/json"]["schema"]["$ref"].endswith("ErrorReply"), (
                path
            )
