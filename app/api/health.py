"""Is it alive, is it ready, how is it doing; and a page that says where things are."""

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError

from app.api.context import Gateway, GatewayDep, Reader
from app.api.failures import RESPONSES
from app.api.metrics import ENGINES, IN_FLIGHT, OPEN_JOBS

router = APIRouter(tags=["health"])
PAGE = """<!doctype html><meta charset="utf-8"><title>Lorekeep</title>
<h1>Lorekeep</h1><p>The gateway runs. Its API is described in <a href="/docs">/docs</a>; every call needs a key.</p>"""


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the gateway's process is alive."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "Not ready; says what is missing."}})
async def readyz(gateway: GatewayDep) -> JSONResponse:
    """Say whether questions can be answered, and what is missing where they cannot."""
    missing = await _missing(gateway)
    body: dict[str, Any] = {"status": "ready" if not missing else "not ready", "missing": missing}
    return JSONResponse(body, 200 if not missing else 503)


@router.get("/metrics", responses=RESPONSES)
async def metrics(caller: Reader, gateway: GatewayDep) -> Response:
    """Return the gateway's figures for Prometheus."""
    ENGINES.set(len(gateway.fleet.engines))
    IN_FLIGHT.set(gateway.fleet.in_flight)
    OPEN_JOBS.set(len(await gateway.versions.open_jobs()))
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
async def page() -> str:
    """Show where things are."""
    return PAGE


async def _missing(gateway: Gateway) -> list[str]:
    missing = []
    try:
        async with asyncio.timeout(3):
            if not await gateway.engines.live():
                missing.append("engine: none is running")
    except (RedisError, TimeoutError):
        missing.append("registry: it does not answer")
    if not await asyncio.to_thread(gateway.artifacts.writable):
        missing.append("artifact store: it cannot be written to")
    return missing
