"""The guard: what stands before every path of vLLM's server, given to it as `--middleware workers.engine.guard.Guard`.

Asks for the engine key everywhere, answers 404 to whatever is not on the allow-list, serves `/internal/adapters`
itself, and counts requests per adapter. Everything else passes through unbuffered.
"""

import hmac
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.names import BASE
from app.errors import InvalidRequest, NotFound, ServiceError, Unauthenticated
from app.logs import set_up_logs
from app.secret_files import engine_key
from app.settings import Settings, load_settings
from workers.base_model import base_digest
from workers.engine.adapters import AdapterSet
from workers.engine.bodies import Disconnected, read_json, replay, without_prompt_scores, without_seed
from workers.engine.parts import Parts, build
from workers.engine.replies import render, render_error
from workers.engine.requests import read_composition, read_purge
from workers.engine.vllm_engine import Engine, VllmEngine

_PASSED = frozenset({("GET", "/health"), ("GET", "/metrics"), ("GET", "/v1/models")})
_ASKED = frozenset({("POST", "/v1/chat/completions"), ("POST", "/v1/completions"), ("POST", "/tokenize")})
_ADAPTERS = "/internal/adapters"


class Guard:
    """Plain ASGI middleware; vLLM gives it the app alone, so its settings come from the environment."""

    def __init__(
        self, app: ASGIApp, settings: Settings | None = None, connect: Callable[[Scope], Engine] | None = None
    ) -> None:
        if settings is None:
            settings = load_settings()
            set_up_logs(settings.log_level, part="guard")
        self._app = app
        self._settings = settings
        self._key = engine_key(settings).get_secret_value().encode()
        self._connect = connect or _vllm
        self._digest = base_digest(Path(settings.model), settings.home)
        self._made: Parts | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            try:
                await self._serve(scope, receive, send)
            except ServiceError as error:
                await render_error(error)(scope, receive, send)
            except Disconnected:
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_key(scope)
        place = (scope["method"], scope["path"])
        if place in _PASSED:
            await self._app(scope, receive, send)
        elif place in _ASKED:
            await self._ask(scope, receive, send)
        elif scope["path"] == _ADAPTERS or scope["path"].startswith(f"{_ADAPTERS}/"):
            await (await self._administer(scope, receive))(scope, receive, send)
        else:
            raise _nothing_here()

    def _check_key(self, scope: Scope) -> None:
        shown = Headers(scope=scope).get("authorization", "").encode()
        if not hmac.compare_digest(shown, b"Bearer " + self._key):
            raise Unauthenticated("This engine answers only to its own gateway and trainer.")

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on while it is counted as its adapter's."""
        body = await read_json(receive, self._settings.engine_max_body_bytes)
        if self._settings.device != "cuda":  # the agent says which; not knowing is no reason to die
            body = without_prompt_scores(without_seed(body))
        with self._counted(scope, body.get("model")):
            await self._app(*replay(scope, receive, body), send)

    def _counted(self, scope: Scope, model: object) -> AbstractContextManager[None]:
        if not isinstance(model, str):
            raise InvalidRequest("Name a `model`: `base`, or an adapter this engine holds.", "model")
        return nullcontext() if model == BASE else self._parts(scope).adapters.request(model)

    async def _administer(self, scope: Scope, receive: Receive) -> Response:
        adapters = self._parts(scope).adapters
        match (scope["method"], *scope["path"].removeprefix(_ADAPTERS).strip("/").split("/")):
            case ("GET", ""):
                self._parts(scope).composer.sweep_now_and_then()
                return await self._list(adapters)
            case ("POST", ""):
                name = (await read_json(receive, 4096)).get("name")
                if not isinstance(name, str):
                    raise InvalidRequest("Name the adapter to load.", "name")
                loaded = await adapters.load(name)
                return render({"name": name, "load_ms": loaded.load_ms, "cold": loaded.cold})
            case ("POST", "compose"):
                return await self._compose(scope, await read_json(receive, 4096))
            case ("POST", "purge"):
                return await self._purge(scope, await read_json(receive, 4096))
            case ("DELETE", str(name)):
                return render({"name": name, "removed": await adapters.remove(name)})
            case ("POST", str(name), "pin" | "unpin" as verb):
                adapters.pin(name, verb == "pin")
                return render({"name": name, "pinned": verb == "pin"})
        raise _nothing_here()

    async def _compose(self, scope: Scope, body: dict[str, Any]) -> Response:
        composition = read_composition(body)
        made = await self._parts(scope).composer.compose(composition)
        return render({"name": str(composition.name), **vars(made.loaded), "facts": made.facts})

    async def _purge(self, scope: Scope, body: dict[str, Any]) -> Response:
        gone = read_purge(body)
        found = await self._parts(scope).composer.purge(gone.tenant, gone.memory_id, files=gone.files)
        return render({"composites": found})

    async def _list(self, adapters: AdapterSet) -> Response:
        resident, pinned = await adapters.listing()
        rows = [{"name": name, **vars(one), "pinned": name in pinned} for name, one in resident.items()]
        return render({"object": "list", "data": rows})

    def _parts(self, scope: Scope) -> Parts:
        """Return what the guard works with, made at the first request: vLLM's engine is not there before."""
        if self._made is None:
            self._made = build(self._connect(scope), self._settings, self._digest)
        return self._made


def _vllm(scope: Scope) -> Engine:
    state: Any = scope["app"].state
    return VllmEngine(state.engine_client, state.openai_serving_models)


def _nothing_here() -> NotFound:
    return NotFound("There is nothing here.")
