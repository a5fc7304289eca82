"""Is it alive, is it ready, how is it doing."""

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError

from app.api.context import GatewayDep, Reader, bearer
from app.api.failures import JSON_RESPONSES
from app.api.gateway import Gateway
from app.api.replies import Alive, Readiness

router = APIRouter(tags=["health"])
LOOK_S = 3.0


@router.get("/healthz")
async def healthz() -> Alive:
    """Say that the gateway's process is alive."""
    return Alive()


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not ready."}})
async def readyz(gateway: GatewayDep) -> JSONResponse:
    """Say whether questions can be answered, and what is missing where they cannot."""
    missing = await _missing(gateway)
    body = Readiness(status="not ready" if missing else "ready", missing=missing)
    return JSONResponse(body.model_dump(), 503 if missing else 200)


@router.get("/metrics", responses=JSON_RESPONSES, response_class=PlainTextResponse, dependencies=[bearer])
async def metrics(_caller: Reader, gateway: GatewayDep) -> Response:
    """Return the gateway's figures for Prometheus."""
    gateway.metrics.engines.set(len(gateway.fleet.engines))
    gateway.metrics.on_engines.set(gateway.fleet.in_flight)
    gateway.metrics.waiting.set(gateway.fleet.waiting)
    gateway.metrics.open_jobs.set(len(await gateway.versions.open_jobs()))
    return Response(gateway.metrics.render(), media_type=CONTENT_TYPE_LATEST)


async def _missing(gateway: Gateway) -> list[str]:
    missing = []
    try:
        async with asyncio.timeout(LOOK_S):
            if not await gateway.engines.live():
                missing.append("engine: none is running")
    except (RedisError, OSError, TimeoutError):
        missing.append("registry: it does not answer")
    if not (writable := await gateway.store.within(LOOK_S)):
        missing.append(f"artifact store: it {'does not answer' if writable is None else 'cannot be written to'}")
    return missing
