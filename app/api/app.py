"""The gateway as an ASGI application: everything is built here, once, and passed down."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from app.api import answers, console, fleet, health, keys, languages, memories, plans
from app.api.edge import Edge
from app.api.failures import install_handlers
from app.api.gateway import open_gateway
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.redis import Registry

MODULES = (memories, plans, answers, languages, fleet, keys, health, console)


def create_app(
    settings: Settings,
    *,
    redis: Registry | None = None,
    http: httpx.AsyncClient | None = None,
    artifacts: ArtifactStore | None = None,
) -> FastAPI:
    """Build the gateway.

    Args:
        redis: the registry, where the caller has it open.
        http: the client that reaches engines, where the caller brings one.
        artifacts: the artifact store, where the caller has it open.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_gateway(settings, redis, http, artifacts) as app.state.gateway:
            yield

    app = FastAPI(
        title="Lorekeep",
        version="1",
        description="Documents become memories a language model carries in its weights.",
        routes=[route for module in MODULES for route in module.router.routes],  # `include_router` builds each anew
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install_handlers(app)
    app.add_middleware(Edge)
    return app
