"""`/v1/memories`: make, look at, change, delete."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse

from app.api.context import GatewayDep, ReadableMemory, Reader, WritableMemory, Writer, bearer
from app.api.events import Narrator, event_after
from app.api.failures import JSON_RESPONSES, RESPONSES, STREAM
from app.api.gateway import Gateway
from app.api.replies import Deleted, MemoryList, MemoryView, PartView, Receipt, VersionList, VersionView
from app.api.requests import EXPORTED, MORE_DOCUMENTS, NEW_MEMORY, PatchBody, RetryBody
from app.api.uploads import ask_of, open_export, read_more_documents, read_new_memory
from app.core.lifecycle import OPEN
from app.core.memory import Memory, Version
from app.core.names import AdapterName, is_memory_id
from app.errors import InvalidRequest, MemoryNotFound, MemoryNotReady
from app.services.drafts import Ask

router = APIRouter(prefix="/v1/memories", tags=["memories"], responses=RESPONSES, dependencies=[bearer])

IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
]
_TAR: dict[int | str, dict[str, Any]] = {
    **JSON_RESPONSES,
    200: {"content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}},
}


@router.post("", status_code=202, response_model=MemoryView, openapi_extra=NEW_MEMORY)
async def remember(
    request: Request, response: Response, caller: Writer, gateway: GatewayDep, idempotency_key: IdempotencyKey = None
) -> MemoryView:
    """Make a memory of documents; readable at once, `ready` when it is trained and has passed its gate."""
    new = await read_new_memory(request)
    memory_id = await gateway.rememberer.remember(
        caller.tenant, new.name, new.uploads, new.options, key=idempotency_key
    )
    response.headers["Location"] = f"/v1/memories/{memory_id}"
    return await _view(gateway, caller.tenant, memory_id)


@router.post("/import", status_code=202, response_model=MemoryView, openapi_extra=EXPORTED)
async def take_in(
    request: Request, response: Response, caller: Writer, gateway: GatewayDep, idempotency_key: IdempotencyKey = None
) -> MemoryView:
    """Make a memory of an export: not trained again, but `ready` only when it has passed its gate here."""
    async with open_export(request) as (tar, name):
        memory_id = await gateway.importer.take_in(caller.tenant, tar, name, key=idempotency_key)
    response.headers["Location"] = f"/v1/memories/{memory_id}"
    return await _view(gateway, caller.tenant, memory_id)


@router.get("", response_model=MemoryList)
async def list_memories(
    caller: Reader,
    gateway: GatewayDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str, Query(max_length=64)] = "",
    name: Annotated[str | None, Query(max_length=128)] = None,
) -> MemoryList:
    """List memories, newest first; `name` finds the one called so."""
    if after and not is_memory_id(after):
        raise InvalidRequest("`after` is not a memory's id: send the `next` of the page before.", "after")
    if name is not None:
        found, more = await _named(gateway, caller.tenant, name), False
    else:
        found, more = await gateway.memories.page(caller.tenant, limit=limit, after=after)
    return MemoryList(data=await _views(gateway, found), has_more=more, next=found[-1].id if more and found else None)


@router.get("/{memory_id}", response_model=MemoryView)
async def get_memory(memory: ReadableMemory, gateway: GatewayDep) -> MemoryView:
    """Show one memory."""
    return (await _views(gateway, [memory]))[0]


@router.patch("/{memory_id}", response_model=MemoryView)
async def patch_memory(memory: WritableMemory, body: PatchBody, gateway: GatewayDep) -> MemoryView:
    """Change a memory's name, metadata or pin, the version that serves, or whether it is the generalist."""
    fields = {name: value for name, value in body.model_dump().items() if value is not None}
    rollback = fields.pop("version", None)
    if rollback is not None:
        version = await gateway.versions.get(memory.tenant, memory.id, rollback)
        if version.state != "ready":
            raise MemoryNotReady(f"Version {rollback} is {version.state}: only one that is ready can serve.", "version")
        fields["current"] = rollback
    if fields:
        await gateway.rememberer.change(memory, fields, rollback=rollback is not None)
        if not fields.keys().isdisjoint({"pinned", "current"}):  # else what was pinned by itself stays so
            await gateway.engines.pin_serving(memory.tenant, memory.id)
    return await _view(gateway, memory.tenant, memory.id)


@router.post("/{memory_id}/documents", status_code=202, response_model=MemoryView, openapi_extra=MORE_DOCUMENTS)
async def add_documents(request: Request, memory: WritableMemory, gateway: GatewayDep) -> MemoryView:
    """Add documents: a new version of all of them; the old one serves until the new one has passed its gate."""
    more = await read_more_documents(request)
    await gateway.rememberer.add_documents(memory, more.uploads, more.ask)
    return await _view(gateway, memory.tenant, memory.id)


@router.get("/{memory_id}/versions", response_model=VersionList)
async def list_versions(memory: ReadableMemory, gateway: GatewayDep) -> VersionList:
    """List a memory's versions, newest first."""
    versions = await gateway.versions.of(memory)
    parts = await asyncio.to_thread(lambda: [_parts(gateway, version) for version in versions])
    shown = zip(versions, parts, strict=True)
    return VersionList(data=[VersionView.of(version, memory.current, own) for version, own in shown])


@router.get("/{memory_id}/events", response_class=EventSourceResponse, responses=STREAM)
async def follow_events(
    memory: ReadableMemory,
    gateway: GatewayDep,
    after: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> EventSourceResponse:
    """Follow what happens to a memory, from its beginning or after an event, until its newest version is over."""
    narrator = Narrator(gateway.events, gateway.memories, gateway.versions)
    return EventSourceResponse(narrator.tell(memory, event_after(after, last_event_id)), ping=0)


@router.post("/{memory_id}/cancel", response_model=MemoryView)
async def cancel(memory: WritableMemory, gateway: GatewayDep) -> MemoryView:
    """End the newest version that is not over; what serves goes on serving."""
    versions = await gateway.versions.of(memory)
    await gateway.rememberer.cancel(next((one for one in versions if one.state in OPEN), versions[0]))
    return await _view(gateway, memory.tenant, memory.id)


@router.post("/{memory_id}/retry", status_code=202, response_model=MemoryView)
async def retry(memory: WritableMemory, gateway: GatewayDep, body: RetryBody | None = None) -> MemoryView:
    """Queue the newest version again after it failed, was rejected or was cancelled.

    Weights that are there are only asked again; another recipe trains anew.
    """
    version = await gateway.versions.get(memory.tenant, memory.id, memory.latest)
    await gateway.rememberer.retry(version, ask_of(body) if body else Ask())
    return await _view(gateway, memory.tenant, memory.id)


@router.delete("/{memory_id}", status_code=202, response_model=Deleted)
async def delete(memory: WritableMemory, gateway: GatewayDep) -> Deleted:
    """Delete a memory: gone at once for every reader, erased in the background."""
    await gateway.eraser.bury(memory, gateway.rememberer)
    return Deleted(id=memory.id)


@router.get("/{memory_id}/receipt", response_model=Receipt)
async def receipt(memory_id: str, caller: Reader, gateway: GatewayDep) -> Receipt:
    """Show what deleting a memory has erased, and when."""
    return Receipt(**await gateway.erasures.tombstone(caller.tenant, memory_id))


@router.get("/{memory_id}/export", response_class=StreamingResponse, responses=_TAR)
async def export(memory: ReadableMemory, gateway: GatewayDep) -> StreamingResponse:
    """Download the serving version as a tar of weights, manifest and documents, which `import` takes."""
    name, blocks = await gateway.exporter.export(memory)
    headers = {"Content-Disposition": f'attachment; filename="{name}.tar"'}
    return StreamingResponse(blocks, media_type="application/x-tar", headers=headers)


async def _named(gateway: Gateway, tenant: str, name: str) -> list[Memory]:
    try:
        return [await gateway.memories.find(tenant, name)]
    except MemoryNotFound:
        return []


async def _view(gateway: Gateway, tenant: str, memory_id: str) -> MemoryView:
    return (await _views(gateway, [await gateway.memories.get(tenant, memory_id)]))[0]


async def _views(gateway: Gateway, memories: list[Memory]) -> list[MemoryView]:
    """Join memories with their newest and their serving versions and their guards, all versions in one round trip."""
    guards = await gateway.memories.guards_on(memories[0].tenant, {one.id for one in memories}) if memories else []
    wanted = {(one.id, number): one for one in (*memories, *guards) for number in (one.latest, one.current) if number}
    versions = await gateway.versions.many([(memory, number) for (_, number), memory in wanted.items()])
    by_key = {(version.memory_id, version.number): version for version in versions}
    above: dict[str, list[tuple[Memory, Version]]] = {}
    for guard in guards:
        if version := by_key.get((guard.id, guard.latest)):
            above.setdefault(guard.metadata["memory"], []).append((guard, version))
    return [
        MemoryView.of(memory, latest, by_key.get((memory.id, memory.current)), above.get(memory.id, []))
        for memory in memories
        if (latest := by_key.get((memory.id, memory.latest)))
    ]


def _parts(gateway: Gateway, version: Version) -> list[PartView]:
    """Show the parts of a version as their manifests do; blocks."""
    manifests = [gateway.artifacts.read_manifest(AdapterName.parse(name)) for name in version.parts]
    return [PartView(adapter=one["name"], digest=one["digest"], size_bytes=one["size_bytes"]) for one in manifests]
