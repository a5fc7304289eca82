"""`/v1/adapters` and `/v1/engines`: what is resident where."""

import dataclasses
from typing import Any

from fastapi import APIRouter

from app.api.context import Admin, GatewayDep, Reader, Writer, bearer
from app.api.failures import RESPONSES
from app.api.gateway import Gateway
from app.api.replies import AdapterList, AdapterView, Done, EngineList, Warm
from app.core.names import AdapterName
from app.errors import NotFound
from app.stores.keys import ApiKey

router = APIRouter(prefix="/v1", tags=["engines"], responses=RESPONSES, dependencies=[bearer])


@router.get("/engines", response_model=EngineList)
async def engines(caller: Admin, gateway: GatewayDep) -> EngineList:
    """List the live engines: health, slots, and how many adapters each holds."""
    rows = []
    for engine in await gateway.engines.live():
        row = {name: value for name, value in vars(engine).items() if name != "resident"}
        rows.append({**row, "object": "engine", "adapters": len(engine.resident)})
    return EngineList(data=rows)


@router.get("/adapters", response_model=AdapterList)
async def adapters(caller: Reader, gateway: GatewayDep) -> AdapterList:
    """List the tenant's adapters that an engine holds, and when each was last used."""
    pinned = await gateway.engines.pinned()
    where: dict[str, list[dict[str, Any]]] = {}
    for engine in await gateway.engines.live():
        for name, held in engine.resident.items():
            where.setdefault(name, []).append({"engine": engine.id, **dataclasses.asdict(held)})
    names = [AdapterName.parse(name) for name in sorted(where)]
    own = [name for name in names if name.tenant == caller.tenant]
    return AdapterList(
        data=[
            AdapterView(
                id=str(name),
                memory_id=name.owner,
                version=name.version,
                pinned=str(name) in pinned,
                engines=where[str(name)],
            )
            for name in own
        ]
    )


@router.post("/adapters/{adapter}/pin", response_model=Done)
async def pin(adapter: str, caller: Writer, gateway: GatewayDep) -> Done:
    """Keep an adapter on the engines that hold it."""
    await gateway.engines.pin(await _own(adapter, caller, gateway))
    return Done(id=adapter)


@router.post("/adapters/{adapter}/unpin", response_model=Done)
async def unpin(adapter: str, caller: Writer, gateway: GatewayDep) -> Done:
    """Let engines evict an adapter again."""
    await gateway.engines.unpin(await _own(adapter, caller, gateway))
    return Done(id=adapter)


@router.post("/adapters/{adapter}/warm", response_model=Warm)
async def warm(adapter: str, caller: Writer, gateway: GatewayDep) -> Warm:
    """Load an adapter on the engine that would answer for it."""
    async with gateway.fleet.seat(await _own(adapter, caller, gateway)) as seat:
        return Warm(id=adapter, engine=seat.engine.id, cold=seat.cold, load_ms=seat.load_ms)


async def _own(adapter: str, caller: ApiKey, gateway: Gateway) -> str:
    """Return the adapter's name if it is a version of this tenant's, or a part of one."""
    missing = NotFound(f"There is no adapter {adapter[:128]!r}.")
    try:
        name = AdapterName.parse(adapter)
    except ValueError as error:
        raise missing from error
    if name.tenant != caller.tenant:
        raise missing
    version = await gateway.versions.get(name.tenant, name.owner, name.version)
    if adapter not in version.adapters:
        raise missing
    return adapter
