"""Who gets in, how much may come in, and what an error looks like."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import fsspec
import httpx
import pytest
from fsspec import AbstractFileSystem
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.api.app import create_app
from app.core.roles import Role
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.redis import Registry, connect
from tests.api.conftest import ADMIN, World
from tests.api.fake_engine import Engine

pytestmark = pytest.mark.redis
OPEN = {"/healthz", "/readyz", "/"}
UPLOAD = {"name": "ada", "documents": [{"name": "a.md", "text": "Ada was born in 1815."}]}


def calls(world: World) -> list[tuple[str, str]]:
    """Return every method and path of the OpenAPI document."""
    return [(method.upper(), path) for path, item in world.app.openapi()["paths"].items() for method in item]


async def test_every_call_but_the_health_checks_needs_a_key(world: World) -> None:
    wanted = [one for one in calls(world) if one[1] not in OPEN]
    wanted += [
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/nowhere"),
        ("DELETE", "/v1"),
        ("OPTIONS", "/v1/keys"),
    ]
    async with world.client(None) as http:
        codes = {(method, path): (await http.request(method, path)).status_code for method, path in wanted}

    assert len(codes) > 25
    assert set(codes.values()) == {401}


async def test_the_health_checks_and_the_page_need_none(world: World) -> None:
    await world.report()
    async with world.client(None) as http:
        codes = {path: (await http.get(path)).status_code for path in OPEN}

    assert set(codes.values()) == {200}


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic lk_admin", "Bearer wrong", "lk_admin", "Bearer lk_admin x"]
)
async def test_what_is_no_valid_key_is_a_401_in_openais_shape(world: World, header: str) -> None:
    async with world.client(None) as http:
        reply = await http.get("/v1/memories", headers={"Authorization": header} if header else {})

    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"
    assert reply.headers["www-authenticate"] == "Bearer"


ROLES = {
    ("GET", "/v1/memories"): Role.READER,
    ("GET", "/v1/models"): Role.READER,
    ("GET", "/v1/adapters"): Role.READER,
    ("GET", "/metrics"): Role.READER,
    ("POST", "/v1/memories"): Role.WRITER,
    ("DELETE", "/v1/memories/mem_x"): Role.WRITER,
    ("PATCH", "/v1/memories/mem_x"): Role.WRITER,
    ("POST", "/v1/adapters/x/pin"): Role.WRITER,
    ("GET", "/v1/engines"): Role.ADMIN,
    ("GET", "/v1/keys"): Role.ADMIN,
    ("POST", "/v1/keys"): Role.ADMIN,
    ("DELETE", "/v1/keys/x"): Role.ADMIN,
}


@pytest.mark.parametrize("role", list(Role))
async def test_a_key_may_do_what_its_role_covers_and_no_more(world: World, role: Role) -> None:
    async with await world.as_("acme", role) as http:
        refused = {
            (method, path)
            for method, path in ROLES
            if (await http.request(method, path, json={} if method in {"POST", "PATCH"} else None)).status_code == 403
        }

    assert refused == {call for call, needed in ROLES.items() if not role.covers(needed)}


async def test_a_revoked_key_is_dead_at_the_next_request(world: World, http: httpx.AsyncClient) -> None:
    made = (await http.post("/v1/keys", json={"tenant": "acme", "role": "reader"})).json()
    async with world.client(made["key"]) as reader:
        before = (await reader.get("/v1/memories")).status_code
        await http.delete(f"/v1/keys/{made['id']}")
        after = (await reader.get("/v1/memories")).status_code

    assert (before, after) == (200, 401)


async def test_a_keys_secret_is_shown_once_and_kept_nowhere(world: World, http: httpx.AsyncClient) -> None:
    made = (await http.post("/v1/keys", json={"tenant": "acme", "role": "reader"})).json()
    listed = (await http.get("/v1/keys")).text
    rows = [str(await world.redis.hgetall(key)) async for key in world.redis.scan_iter("lk:key*")]

    assert made["key"].startswith("lk_")
    assert made["id"] in listed
    assert made["key"] not in listed + "".join(rows)


@pytest.mark.parametrize(
    "body",
    [{}, {"tenant": "A"}, {"tenant": "a/b"}, {"tenant": "acme", "role": "king"}, {"tenant": "acme", "expires": "soon"},
     {"tenant": "acme", "expires": time.time() - 10}, {"tenant": "acme", "expires": 1e300}, {"tenant": "acme", "x": 1}],
)  # fmt: skip
async def test_a_key_that_makes_no_sense_is_not_made(
    world: World, http: httpx.AsyncClient, body: dict[str, object]
) -> None:
    before = await world.traces()
    reply = await http.post("/v1/keys", json=body)

    assert (reply.status_code, await world.traces()) == (400, before)


async def test_a_key_ends_when_it_was_said_to(world: World, http: httpx.AsyncClient) -> None:
    made = (await http.post("/v1/keys", json={"tenant": "acme", "expires": "2999-01-01T00:00:00Z"})).json()

    assert made["expires_at"] > time.time()
    assert (await http.delete("/v1/keys/key_admin")).status_code == 409


async def test_a_request_id_is_the_clients_or_a_new_one(http: httpx.AsyncClient) -> None:
    own = (await http.get("/v1/memories", headers={"X-Request-Id": "abc-1"})).headers["x-request-id"]
    new = (await http.get("/nowhere", headers={"X-Request-Id": "a b;"})).headers["x-request-id"]

    assert own == "abc-1"
    assert new.startswith("req_")


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("path", ["/v1/memories", "/v1/chat/completions", "/v1/keys"])
async def test_a_body_above_the_limit_is_a_413_before_it_is_read(
    world: World, http: httpx.AsyncClient, announced: bool, path: str
) -> None:
    sent = 0

    async def blocks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 10_000

    headers = {"content-type": "application/json"} | ({"content-length": "1000000"} if announced else {})
    reply = await http.post(path, content=blocks(), headers=headers)

    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")
    assert sent <= (1 if announced else 11)


async def test_an_unknown_path_and_a_wrong_method_are_named_as_such(http: httpx.AsyncClient) -> None:
    found = [(await http.request(*call)).json()["error"]["code"] for call in (("GET", "/v2"), ("PUT", "/v1/keys"))]

    assert found == ["not_found", "method_not_allowed"]


async def test_a_registry_that_is_away_is_a_503_within_seconds(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": f"unix://{settings.home}/nothing", "admin_key": SecretStr("lk_x")})
    redis = connect(away.registry_url, retries=0)
    app = create_app(away, redis=redis)
    began = time.monotonic()
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            reply = await http.get("/v1/memories", headers={"Authorization": "Bearer lk_x"})
            ready = await http.get("/readyz")
            alive = await http.get("/healthz")
    await redis.aclose()

    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "registry_unavailable")
    assert reply.headers["retry-after"] == "5"
    assert (ready.status_code, ready.json()["missing"]) == (503, ["registry: it does not answer"])
    assert alive.status_code == 200
    assert time.monotonic() - began < 15


async def test_a_registry_that_refuses_to_write_is_a_503_and_its_reason_is_in_the_log(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.redis.config_set("min-replicas-to-write", 1)
    try:
        with capture_logs() as logs:
            reply = await http.post("/v1/memories", json=UPLOAD)
    finally:
        await world.redis.config_set("min-replicas-to-write", 0)
    error = reply.json()["error"]

    assert (reply.status_code, error["code"]) == (503, "registry_unavailable")
    assert "refuses to write" in error["message"]
    assert "reached" not in error["message"]
    assert [line["log_level"] for line in logs if "NOREPLICAS" in line.get("reason", "")] == ["error"]


class NoCredentialsError(Exception):
    """As botocore's: no OSError."""


class Away(AbstractFileSystem):  # type: ignore[misc]
    """A store elsewhere that cannot be reached."""

    protocol = "away"

    def _fail(self, *_: object, **__: object) -> None:
        raise NoCredentialsError("Unable to locate credentials")

    makedirs = pipe_file = cat_file = info = exists = find = ls = rm = _fail


async def test_a_store_elsewhere_that_is_away_is_a_503_by_whatever_error_its_library_tells(
    settings: Settings, redis: Registry, tmp_path: Path
) -> None:
    fsspec.register_implementation("away", Away, clobber=True)
    app = create_app(settings, redis=redis, artifacts=ArtifactStore("away://bucket", tmp_path / "cache"))
    async with app.router.lifespan_context(app):
        await Engine("one").report(app.state.gateway.engines)
        headers = {"Authorization": f"Bearer {ADMIN}"}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as http:
            ready = await http.get("/readyz")
            refused = await http.post("/v1/memories", json=UPLOAD)

    assert (ready.status_code, ready.json()["missing"]) == (503, ["artifact store: it cannot be written to"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    assert "artifact store" in refused.json()["error"]["message"]


async def test_what_nobody_foresaw_is_a_500_with_the_requests_id_and_no_trace(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.redis.set("lk:t:acme:memories", "not a set, which is a bug")
    await world.redis.hset("lk:t:acme:memory:mem_x", mapping={"broken": "1"})
    reply = await http.get("/v1/memories/mem_x")

    assert reply.status_code == 500
    assert reply.headers["x-request-id"] in reply.json()["error"]["message"]
    assert "Traceback" not in reply.text
    assert "broken" not in reply.text


async def test_a_reply_that_does_not_fit_its_shape_is_the_gateways_fault_and_is_logged(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.redis.hset("lk:t:acme:tombstone:mem_x", mapping={"id": '"mem_x"'})  # and nothing else of a receipt
    with capture_logs() as logs:
        reply = await http.get("/v1/memories/mem_x/receipt")

    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal")
    assert reply.headers["x-request-id"] in reply.json()["error"]["message"]
    assert [line["log_level"] for line in logs if line["event"] == "request.failed"] == ["error"]


async def test_figures_have_routes_but_no_ids(world: World, http: httpx.AsyncClient) -> None:
    ada = await world.ready("ada")
    await world.report()
    await http.get(f"/v1/memories/{ada.memory.id}")
    await http.post("/v1/chat/completions", json={"model": "ada", "messages": []})
    text = (await http.get("/metrics")).text

    assert 'lorekeep_requests_total{method="GET",route="/v1/memories/{memory_id}",status="200"} 1.0' in text
    assert "lorekeep_cold_loads_total 1.0" in text
    assert "lorekeep_engines 2.0" in text
    assert "lorekeep_open_jobs 0.0" in text
    assert ada.memory.id not in text


async def test_readiness_says_that_an_engine_is_missing(http: httpx.AsyncClient) -> None:
    reply = await http.get("/readyz")

    assert (reply.status_code, reply.json()["missing"]) == (503, ["engine: none is running"])
