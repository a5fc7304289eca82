"""The gateway's process: everything is built here, once, and passed down."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from app.api import answers, fleet, health, keys, memories
from app.api.context import Gateway, caller_of
from app.api.edge import Edge
from app.api.failures import install_handlers, to_response
from app.engines.client import EngineClient
from app.engines.fleet import Fleet
from app.errors import NotFound, ServiceError, StartupError
from app.logs import set_up_logs
from app.secret_files import admin_key, engine_key
from app.services.answer import Answerer
from app.services.erase import Eraser
from app.services.remember import Rememberer
from app.services.target import Resolver
from app.settings import Settings, load_settings
from app.stores.artifacts import ArtifactStore
from app.stores.engines import EngineStore
from app.stores.erasures import ErasureStore
from app.stores.events import EventStore
from app.stores.keys import KeyStore
from app.stores.memories import MemoryStore
from app.stores.queue import TrainingQueue
from app.stores.redis import Registry, connect
from app.stores.versions import VersionStore

MAX_CONNECTIONS = 1000
REGISTRY_RETRIES = 5  # about two seconds: a request must not hang for longer while the registry restarts


def create_app(settings: Settings, *, redis: Registry | None = None, http: httpx.AsyncClient | None = None) -> FastAPI:
    """Build the gateway.

    Args:
        redis: the registry, where the caller has it open.
        http: the client that reaches engines, where the caller brings one.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registry = redis or connect(settings.registry_url, retries=REGISTRY_RETRIES)
        client = http or _http(settings)
        gateway = build_gateway(settings, registry, client)
        app.state.gateway = gateway
        await gateway.keys.seed(admin_key(settings).get_secret_value(), settings.tenant)
        tasks = [asyncio.create_task(gateway.fleet.watch()), asyncio.create_task(gateway.eraser.run())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=5)
        if http is None:
            await client.aclose()
        if redis is None:
            await registry.aclose()

    app = FastAPI(
        title="Lorekeep",
        version="1",
        description="Documents become memories a language model carries in its weights.",
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
    )
    install_handlers(app)
    for module in (memories, answers, fleet, keys, health):
        app.include_router(module.router)
    app.add_api_route("/{path:path}", _nothing_here, include_in_schema=False, methods=_METHODS)
    app.add_middleware(Edge)
    return app


_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


async def _nothing_here(request: Request) -> JSONResponse:
    """Answer for addresses that do not exist: to those with a key only."""
    try:
        await caller_of(request, request.app.state.gateway)
    except ServiceError as error:
        return to_response(error)
    return to_response(NotFound("There is nothing at this address: /docs lists what there is."))


def build_gateway(settings: Settings, redis: Registry, http: httpx.AsyncClient) -> Gateway:
    """Join the gateway's parts."""
    stores = MemoryStore(redis), VersionStore(redis), EventStore(redis), ErasureStore(redis), EngineStore(redis)
    memory_store, versions, events, erasures, engines = stores
    artifacts = ArtifactStore.open(settings)
    client = EngineClient(http, engine_key(settings))
    view = Fleet(engines, client, wait_s=settings.admission_wait.total_seconds())
    resolver = Resolver(memory_store, versions)
    return Gateway(
        settings=settings,
        redis=redis,
        memories=memory_store,
        versions=versions,
        events=events,
        erasures=erasures,
        keys=KeyStore(redis),
        engines=engines,
        artifacts=artifacts,
        client=client,
        fleet=view,
        resolver=resolver,
        answerer=Answerer(resolver, view, client, artifacts),
        rememberer=Rememberer(memory_store, versions, artifacts, TrainingQueue(settings.registry_url)),
        eraser=Eraser(stores, artifacts, client, grace_s=settings.erase_grace.total_seconds()),
    )


def _http(settings: Settings) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=100)
    timeout = httpx.Timeout(settings.engine_timeout.total_seconds(), connect=3, pool=10)
    return httpx.AsyncClient(limits=limits, timeout=timeout)


def main() -> int:
    """Run the gateway; returns the exit code."""
    try:
        settings = load_settings()
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    set_up_logs(settings.log_level, part="gateway")
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
