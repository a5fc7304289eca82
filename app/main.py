"""The gateway's process: everything is built here, once, and passed down."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from app.api import answers, console, fleet, health, keys, languages, memories, plans
from app.api.edge import Edge
from app.api.failures import install_handlers
from app.api.gateway import open_gateway
from app.logs import set_up_logs
from app.processes import exit_code_of
from app.settings import Settings, load_settings
from app.stores.artifacts import ArtifactStore
from app.stores.redis import Registry


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
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    install_handlers(app)
    for module in (memories, plans, answers, languages, fleet, keys, health, console):
        app.include_router(module.router)
    app.add_middleware(Edge)
    return app


def main() -> int:
    """Run the gateway; returns the exit code."""
    settings = load_settings()
    set_up_logs(settings.log_level, part="gateway")
    app = create_app(settings)
    uvicorn.run(
        app, host=settings.host, port=settings.port, log_config=None, access_log=False, timeout_graceful_shutdown=5
    )
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
