import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from app.core.composition import Composition
from app.core.names import AdapterName
from app.settings import Settings
from tests.engine.fakes import FakeEngine, change_json, write_adapter
from tests.trainer.tiny import byte_tokenizer
from workers.base_model import base_digest
from workers.engine.guard import Guard

KEY = {"Authorization": "Bearer secret"}
CHAT = "/v1/chat/completions"


class Inner:
    """What vLLM would be: notes the body it gets and answers in two parts."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.headers: dict[bytes, bytes] = {}
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.entered = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            return
        message = await receive()
        self.bodies.append(json.loads(message["body"] or b"null"))
        self.headers = dict(scope["headers"])
        self.entered.set()
        if self.error:
            raise self.error
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"two"})


class World:
    def __init__(self, folder: Path, device: str) -> None:
        base = folder / "base"
        base.mkdir()
        (base / "config.json").write_text("{}")
        byte_tokenizer().save_pretrained(base)
        settings = Settings(
            home=folder,
            base_model=str(base),
            device=device,
            engine_key="secret",
            engine_max_body_bytes=2048,
            engine_drain=timedelta(milliseconds=20),
            max_loras=1,
            max_cpu_loras=1,
        )
        self.artifacts = folder / "artifacts"
        self.digest = base_digest(base, folder)
        self.engine = FakeEngine()
        self.inner = Inner()
        self.guard = Guard(self.inner, settings, lambda _: self.engine)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.guard), base_url="http://engine", headers=KEY)

    def write(self, number: int = 1) -> str:
        name = write_adapter(self.artifacts, number)
        change_json(self.artifacts / name.folder / "manifest.json", base={"digest": self.digest})
        return str(name)

    async def load(self, number: int = 1) -> str:
        name = self.write(number)
        (await self.http.post("/internal/adapters", json={"name": name})).raise_for_status()
        return name

    async def active(self, name: str) -> int:
        rows = (await self.http.get("/internal/adapters")).json()["data"]
        return next(int(row["active"]) for row in rows if row["name"] == name)


@pytest.fixture(params=["cpu"])
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world = World(tmp_path, request.param)
    async with world.http:
        yield world


@pytest.mark.parametrize("path", ["/health", CHAT, "/invocations", "/adapters", "/internal/adapters", "/nothing", "/"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("shown", ["", "Bearer wrong", "secret", "Bearer ", "Bearer secret2", "Bearer s\xe9cret"])
async def test_every_path_is_refused_without_the_key(world: World, method: str, path: str, shown: str) -> None:
    reply = await world.http.request(method, path, headers={b"Authorization": shown.encode("latin-1")})

    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"
    assert world.inner.bodies == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/invocations"),
        ("POST", "/adapters"),
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/responses"),
        ("GET", "/docs"),
        ("POST", "/health"),
        ("GET", "/health/"),
        ("GET", "//health"),
        ("PUT", "/internal/adapters"),
        ("GET", "/internal/adapters/x"),
        ("POST", "/internal/adapters/x/compose"),
        ("GET", "/internal/adapters/x/y/z"),
    ],
)
async def test_what_is_not_allowed_is_not_found(world: World, method: str, path: str) -> None:
    reply = await world.http.request(method, path)

    assert reply.status_code == 404
    assert world.inner.bodies == []


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/models"])
async def test_allowed_reads_pass_through(world: World, path: str) -> None:
    assert (await world.http.get(path)).text == "onetwo"


async def test_websockets_are_refused_with_and_without_the_key(world: World) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    for headers in ([], [(b"authorization", b"Bearer secret")]):
        await world.guard({"type": "websocket", "path": "/v1/realtime", "headers": headers}, receive, send)

    assert [message["type"] for message in sent] == ["websocket.close"] * 2


async def test_lifespan_passes_through(world: World) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    await world.guard({"type": "lifespan"}, receive, send)

    assert sent == [{"type": "lifespan.startup.complete"}]


async def test_the_body_reaches_vllm_whole(world: World) -> None:
    body = {"model": "base", "messages": [{"role": "user", "content": "é😀"}], "logit_bias": {"1": 0.5}}
    reply = await world.http.post(CHAT, content=json.dumps(body), headers={"x-request-id": "r1"})

    assert reply.text == "onetwo"
    assert world.inner.bodies == [body]
    assert world.inner.headers[b"x-request-id"] == b"r1"


async def test_a_key_given_twice_is_read_by_vllm_as_the_guard_read_it(world: World) -> None:
    await world.http.post(CHAT, content=b'{"model": "secret-adapter", "model": "base"}')

    assert world.inner.bodies == [{"model": "base"}]


@pytest.mark.parametrize("model", [None, 3, ["base"], {}])
async def test_a_request_must_name_its_model(world: World, model: object) -> None:
    reply = await world.http.post(CHAT, json={"model": model})

    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "model"


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/tokenize"])
async def test_an_adapter_that_is_not_loaded_is_not_found(world: World, path: str) -> None:
    reply = await world.http.post(path, json={"model": world.write()})

    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"
    assert world.inner.bodies == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 2000])
async def test_a_body_that_is_no_json_object_is_refused(world: World, content: bytes) -> None:
    assert (await world.http.post(CHAT, content=content)).status_code == 400


async def test_an_oversized_body_is_refused(world: World) -> None:
    assert (await world.http.post(CHAT, content=b" " * 4096)).status_code == 413


async def test_a_seed_with_temperature_zero_is_dropped_on_cpu(world: World) -> None:
    await world.http.post(CHAT, json={"model": "base", "seed": 3, "temperature": 0})

    assert world.inner.bodies == [{"model": "base", "temperature": 0}]


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.7}, {"temperature": None}, {"temperature": False}])
async def test_a_seed_that_would_kill_the_engine_is_refused(world: World, sampling: dict[str, object]) -> None:
    reply = await world.http.post(CHAT, json={"model": "base", "seed": 0} | sampling)

    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "seed"
    assert world.inner.bodies == []


@pytest.mark.parametrize("asks", [{"prompt_logprobs": 0}, {"echo": True, "logprobs": 1}])
async def test_scores_of_a_prompt_that_would_kill_the_engine_are_refused(world: World, asks: dict[str, object]) -> None:
    reply = await world.http.post("/v1/completions", json={"model": "base", "prompt": "a", **asks})

    assert reply.status_code == 400
    assert reply.json()["error"]["param"] in asks
    assert world.inner.bodies == []


@pytest.mark.parametrize("asks", [{"prompt_logprobs": None}, {"echo": True}, {"logprobs": 1}])
async def test_what_scores_no_prompt_is_passed_on(world: World, asks: dict[str, object]) -> None:
    await world.http.post("/v1/completions", json={"model": "base", "prompt": "a", **asks})

    assert world.inner.bodies == [{"model": "base", "prompt": "a", **asks}]


@pytest.mark.parametrize("seed", [None, -1])
async def test_a_seed_that_means_none_is_dropped(world: World, seed: int | None) -> None:
    await world.http.post(CHAT, json={"model": "base", "seed": seed})

    assert world.inner.bodies == [{"model": "base"}]


@pytest.mark.parametrize("world", ["cuda"], indirect=True)
async def test_a_gpu_engine_gets_the_seed(world: World) -> None:
    await world.http.post(CHAT, json={"model": "base", "seed": 3})

    assert world.inner.bodies == [{"model": "base", "seed": 3}]


async def test_the_first_part_is_passed_on_before_the_last_exists(world: World) -> None:
    parts: list[bytes] = []
    first = asyncio.Event()
    world.inner.go_on.clear()

    async def send(message: Message) -> None:
        parts.append(message.get("body", b""))
        if parts[-1]:
            first.set()

    task = asyncio.create_task(world.guard(_scope(), _receiving({"model": "base"}), send))
    await first.wait()

    assert parts[-1] == b"one"
    world.inner.go_on.set()
    await task


async def test_a_running_request_is_counted_as_its_adapters(world: World) -> None:
    name = await world.load()
    world.inner.go_on.clear()
    request = asyncio.create_task(world.http.post(CHAT, json={"model": name}))
    await world.inner.entered.wait()
    during = await world.active(name)
    world.inner.go_on.set()
    await request

    assert (during, await world.active(name)) == (1, 0)


async def test_a_cancelled_request_is_released(world: World) -> None:
    name = await world.load()
    world.inner.go_on.clear()
    request = asyncio.create_task(world.http.post(CHAT, json={"model": name}))
    await world.inner.entered.wait()
    request.cancel()
    await asyncio.wait([request])

    assert await world.active(name) == 0


async def test_a_failed_request_is_released(world: World) -> None:
    name = await world.load()
    world.inner.error = RuntimeError("vLLM")
    with pytest.raises(RuntimeError):
        await world.http.post(CHAT, json={"model": name})

    assert await world.active(name) == 0


async def test_vllm_hears_that_the_client_left(world: World) -> None:
    heard: list[str] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        heard.extend([(await receive())["type"], (await receive())["type"]])

    world.guard._app = inner
    await world.guard(_scope(), _receiving({"model": "base"}), _ignore)

    assert heard == ["http.request", "http.disconnect"]


async def test_a_client_that_leaves_before_its_body_is_whole_is_nothing_to_vllm(world: World) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await world.guard(_scope(), receive, _ignore)

    assert world.inner.bodies == []


async def test_adapters_are_loaded_listed_pinned_and_removed(world: World) -> None:
    name = world.write()
    loaded = (await world.http.post("/internal/adapters", json={"name": name})).json()
    again = (await world.http.post("/internal/adapters", json={"name": name})).json()
    await world.http.post(f"/internal/adapters/{name}/pin")
    (row,) = (await world.http.get("/internal/adapters")).json()["data"]
    await world.http.post(f"/internal/adapters/{name}/unpin")
    removed = (await world.http.delete(f"/internal/adapters/{name}")).json()

    assert (loaded["cold"], again["cold"]) == (True, False)
    assert (row["name"], row["active"], row["pinned"], row["load_ms"] >= 0) == (name, 0, True, True)
    assert removed == {"name": name, "removed": True}
    assert (await world.http.get("/internal/adapters")).json()["data"] == []


@pytest.mark.parametrize("content", [b"{}", b'{"name": 1}', b'{"name": "../x"}', b"nonsense"])
async def test_a_load_that_names_no_adapter_is_refused(world: World, content: bytes) -> None:
    assert (await world.http.post("/internal/adapters", content=content)).status_code == 400


async def test_a_composite_is_composed_and_asked_by_its_name(world: World) -> None:
    body = Composition.of("cat", [AdapterName.parse(world.write(number)) for number in (1, 2)]).to_dict()
    composed = (await world.http.post("/internal/adapters/compose", json=body)).json()
    reply = await world.http.post(CHAT, json={"model": composed["name"], "messages": []})

    assert (composed["cold"], composed["facts"]["weights"]) == (True, [1.0, 1.0])
    assert composed["load_ms"] > 0
    assert reply.status_code == 200


async def test_a_composite_that_broke_is_refused_with_a_code(world: World) -> None:
    body = Composition.of("cat", [AdapterName.parse(world.write(number)) for number in (1, 2)]).to_dict()
    world.engine.by_prompt[(1, 3)] = -20.0
    reply = await world.http.post("/internal/adapters/compose", json=body)

    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "composite_rejected")
    assert "17.00" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"method": "svd"},
        {"members": []},
        {"members": ["../../etc/passwd"]},
        {"members": ["a.mem_1"] * 9},
        {"members": "mem_1"},
        {"weights": ["1"]},
        {"weights": [1.0, 1.0]},
        {"weights": None},
        {"density": 0.5},
        {"max_rank": True},
        {"max_rank": 0},
        {"extra": 1},
    ],
)
async def test_a_recipe_that_makes_no_sense_is_a_bad_request(world: World, change: dict[str, object]) -> None:
    body = Composition.of("cat", [AdapterName.parse(world.write())]).to_dict() | change
    reply = await world.http.post("/internal/adapters/compose", json=body)

    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_a_recipe_that_is_too_long_is_refused(world: World) -> None:
    reply = await world.http.post("/internal/adapters/compose", json={"method": "x" * 5000})

    assert reply.status_code == 413


async def test_purging_a_memory_unloads_what_was_composed_of_it(world: World) -> None:
    names = [AdapterName.parse(world.write(number)) for number in (1, 2)]
    composition = Composition.of("cat", names)
    await world.http.post("/internal/adapters/compose", json=composition.to_dict())
    body = {"tenant": names[0].tenant, "memory_id": names[0].owner, "files": True}
    reply = await world.http.post("/internal/adapters/purge", json=body)

    assert reply.json() == {"composites": [str(composition.name)]}
    assert world.engine.is_empty()
    assert not list((world.artifacts.parent / "composites").rglob("*.safetensors"))


async def test_a_language_guard_is_purged_as_a_memory_is(world: World) -> None:
    body = {"tenant": "default", "memory_id": f"lng_{1:026d}", "files": True}
    reply = await world.http.post("/internal/adapters/purge", json=body)

    assert (reply.status_code, reply.json()) == (200, {"composites": []})


@pytest.mark.parametrize(
    "change",
    [{"tenant": "../x"}, {"memory_id": "mem_1"}, {"memory_id": f"cmp_{1:026d}"}, {"files": "yes"}, {"more": 1}],
)
async def test_purging_what_is_no_memory_is_a_bad_request(world: World, change: dict[str, object]) -> None:
    body = {"tenant": "default", "memory_id": f"mem_{1:026d}", "files": True} | change

    assert (await world.http.post("/internal/adapters/purge", json=body)).status_code == 400


async def test_full_slots_are_a_conflict_with_a_code(world: World) -> None:
    name = await world.load(1)
    await world.http.post(f"/internal/adapters/{name}/pin")
    reply = await world.http.post("/internal/adapters", json={"name": world.write(2)})

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "slots_full")


async def test_a_rejected_adapter_is_a_bad_gateway_with_a_code(world: World) -> None:
    world.engine.broken = True
    reply = await world.http.post("/internal/adapters", json={"name": world.write()})

    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "adapter_rejected")


def _scope() -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": CHAT,
        "headers": [(b"authorization", b"Bearer secret"), (b"content-length", b"0")],
    }


def _receiving(body: object) -> Receive:
    messages: list[Message] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": json.dumps(body).encode()},
    ]

    async def receive() -> Message:
        return messages.pop()

    return receive


async def _ignore(_message: Message) -> None:
    return
