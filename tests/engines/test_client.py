import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from pydantic import SecretStr

from app.core.composition import Composition
from app.core.engines import Residency
from app.core.names import AdapterName
from app.engines.client import EngineClient, Loaded, engine_http
from app.errors import (
    AdapterBusy,
    AdapterRejected,
    Busy,
    EngineFailed,
    InvalidRequest,
    ModelNotFound,
    ServiceError,
    TooLarge,
)
from tests.proxy import proxied

URL = "http://engine"
Handler = Callable[[httpx.Request], httpx.Response]
pytestmark = pytest.mark.usefixtures("no_waiting")


def client(handler: Handler) -> EngineClient:
    return EngineClient(httpx.AsyncClient(transport=httpx.MockTransport(handler)), SecretStr("secret"))


def failing(times: int, reply: httpx.Response, error: type[httpx.TransportError] = httpx.ReadError) -> Handler:
    """Answer `reply` after `times` broken connections."""
    calls = iter(range(times))

    def handle(request: httpx.Request) -> httpx.Response:
        if next(calls, None) is not None:
            raise error("broken", request=request)
        return reply

    return handle


def refusing(status: int, code: str | int | None, message: str = "No.", param: str | None = None) -> Handler:
    error = {"message": message, "type": "t", "code": code, "param": param}
    return lambda _: httpx.Response(status, json={"error": error})


async def test_a_proxy_in_the_environment_does_not_see_the_key_of_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxied(monkeypatch) as proxy:
        async with engine_http(timeout=httpx.Timeout(5)) as http:
            assert await EngineClient(http, SecretStr("secret")).healthy(proxy.url)

    assert proxy.asked == ["/health"]


async def test_an_endpoint_without_a_key_is_shown_none() -> None:
    seen: list[httpx.Headers] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, json={})

    await EngineClient(httpx.AsyncClient(transport=httpx.MockTransport(handle)), SecretStr("")).chat(URL, {})

    assert "authorization" not in seen[0]


async def test_every_call_shows_the_engine_key() -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={"data": [], "load_ms": 1.0, "cold": True, "removed": True})

    engine = client(handle)
    await engine.load(URL, "a")
    await engine.remove(URL, "a")
    await engine.list(URL)
    await engine.chat(URL, {})
    await engine.healthy(URL)
    await (await engine.open_stream(URL, "/v1/completions", {})).aclose()

    assert seen == ["Bearer secret"] * 6


async def test_a_load_says_how_long_it_took() -> None:
    engine = client(lambda _: httpx.Response(200, json={"name": "a", "load_ms": 52.5, "cold": True}))

    assert await engine.load(URL, "a") == Loaded(52.5, cold=True)


async def test_a_listing_separates_residency_from_pins() -> None:
    row = {"loaded_at": 1.0, "load_ms": 2.0, "used_at": 3.0, "active": 4}
    rows = [{"name": "a", "pinned": True, **row}, {"name": "b", "pinned": False, **row}]
    listing = await client(lambda _: httpx.Response(200, json={"data": rows})).list(URL)

    assert listing.resident == {"a": Residency(1.0, 2.0, 3.0, 4), "b": Residency(1.0, 2.0, 3.0, 4)}
    assert listing.pinned == {"a"}


async def test_pins_go_to_their_own_paths() -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url.path}")
        return httpx.Response(200, json={})

    await client(handle).pin(URL, "a")
    await client(handle).unpin(URL, "a")

    assert seen == ["POST /internal/adapters/a/pin", "POST /internal/adapters/a/unpin"]


@pytest.mark.parametrize("error", [httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError])
async def test_a_broken_connection_is_tried_again(error: type[httpx.TransportError]) -> None:
    reply = httpx.Response(200, json={"choices": []})

    assert await client(failing(2, reply, error)).chat(URL, {}) == {"choices": []}


async def test_an_engine_that_stays_away_has_failed() -> None:
    with pytest.raises(EngineFailed):
        await client(failing(9, httpx.Response(200))).complete(URL, {})


async def test_a_slow_answer_is_not_asked_for_twice() -> None:
    handler = failing(1, httpx.Response(200, json={}), httpx.ReadTimeout)
    with pytest.raises(EngineFailed, match="in time"):
        await client(handler).chat(URL, {})

    assert await client(handler).chat(URL, {}) == {}


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, 400, InvalidRequest),
        (401, "invalid_api_key", EngineFailed),
        (404, "model_not_found", ModelNotFound),
        (404, 404, ModelNotFound),
        (409, "slots_full", Busy),
        (409, "adapter_busy", AdapterBusy),
        (413, "too_large", TooLarge),
        (422, None, InvalidRequest),
        (500, 500, EngineFailed),
        (502, "adapter_rejected", AdapterRejected),
        (503, None, EngineFailed),
    ],
)
async def test_an_engines_error_becomes_ours(status: int, code: str | int | None, expected: type[ServiceError]) -> None:
    with pytest.raises(ServiceError) as caught:
        await client(refusing(status, code)).load(URL, "a")

    assert type(caught.value) is expected
    assert caught.value.detail == "No."


async def test_vllms_own_words_reach_the_user() -> None:
    with pytest.raises(InvalidRequest) as caught:
        await client(refusing(400, 400, "n must be at least 1", "n")).chat(URL, {"n": 0})

    assert (caught.value.detail, caught.value.param) == ("n must be at least 1", "n")


@pytest.mark.parametrize("content", [b"", b"oops", b"[]", b'{"error": "text"}', b'{"detail": 1}'])
async def test_an_error_in_no_known_shape_is_the_engines_failure(content: bytes) -> None:
    with pytest.raises(EngineFailed):
        await client(lambda _: httpx.Response(500, content=content)).chat(URL, {})


async def test_an_answer_that_is_not_json_is_the_engines_failure() -> None:
    with pytest.raises(EngineFailed):
        await client(lambda _: httpx.Response(200, content=b"<html>")).chat(URL, {})


async def test_a_stream_is_returned_unread() -> None:
    sent: list[object] = []

    async def parts() -> AsyncIterator[bytes]:
        yield b"data: one\n\n"
        yield b"data: [DONE]\n\n"

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, content=parts())

    response = await client(handle).open_stream(URL, "/v1/chat/completions", {"stream": True})

    assert not response.is_stream_consumed
    assert [line async for line in response.aiter_lines() if line] == ["data: one", "data: [DONE]"]
    assert sent == [{"stream": True}]
    await response.aclose()


async def test_a_refused_stream_raises_before_it_begins() -> None:
    with pytest.raises(ModelNotFound):
        await client(refusing(404, "model_not_found")).open_stream(URL, "/v1/chat/completions", {})


async def test_a_stream_that_breaks_off_while_it_is_refused_is_an_engines_failure_and_closed() -> None:
    class Broken(httpx.AsyncByteStream):
        closed = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'{"error":'
            raise httpx.ReadError("broken")

        async def aclose(self) -> None:
            self.closed = True

    stream = Broken()
    with pytest.raises(EngineFailed):
        await client(lambda _: httpx.Response(500, stream=stream)).open_stream(URL, "/v1/chat/completions", {})

    assert stream.closed


@pytest.mark.parametrize(("handler", "healthy"), [(lambda _: httpx.Response(200), True), (refusing(503, None), False)])
async def test_health_is_what_vllm_says(handler: Handler, healthy: bool) -> None:
    assert await client(handler).healthy(URL) is healthy


async def test_an_engine_that_cannot_be_reached_is_not_healthy() -> None:
    assert not await client(failing(1, httpx.Response(200), httpx.ConnectError)).healthy(URL)


async def test_a_text_is_cut_into_tokens_without_special_ones() -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"count": 3, "tokens": [7, 8, 9], "max_model_len": 2048})

    assert await client(handler).tokenize(URL, "Ada Lovelace.") == (7, 8, 9)
    assert asked[0].url.path == "/tokenize"
    assert json.loads(asked[0].content) == {"model": "base", "prompt": "Ada Lovelace.", "add_special_tokens": False}


COMPOSITION = Composition.of("cat", [AdapterName("acme", f"mem_{number:026d}", 1, "a" * 12) for number in (1, 2)])


async def test_a_composite_is_asked_for_by_its_recipe() -> None:
    seen: list[tuple[str, object]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, json.loads(request.content)))
        name = str(COMPOSITION.name)
        return httpx.Response(200, json={"name": name, "load_ms": 3.0, "cold": True, "facts": {"rank": 8}})

    loaded = await client(handle).compose(URL, COMPOSITION)

    assert loaded == Loaded(3.0, cold=True, facts={"rank": 8})
    assert seen == [("/internal/adapters/compose", COMPOSITION.to_dict())]


async def test_an_engine_that_gives_a_recipe_another_name_has_failed() -> None:
    reply = httpx.Response(200, json={"name": "other", "load_ms": 3.0, "cold": True, "facts": {}})
    with pytest.raises(EngineFailed):
        await client(lambda _: reply).compose(URL, COMPOSITION)


async def test_a_purge_says_what_it_found() -> None:
    seen: list[object] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={"composites": ["x"]})

    assert await client(handle).purge(URL, "acme", "mem_1", files=True) == ["x"]
    assert seen == [("/internal/adapters/purge", {"tenant": "acme", "memory_id": "mem_1", "files": True})]
