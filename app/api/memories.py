"""`/v1/memories`: make, look at, change, delete."""

import asyncio
import io
import json
import re
import tarfile
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from app.api.context import Gateway, GatewayDep, ReadableMemory, Reader, WritableMemory, Writer
from app.api.failures import RESPONSES
from app.api.schemas import (
    Deleted,
    MemoryList,
    MemoryView,
    PatchBody,
    Receipt,
    RetryBody,
    VersionList,
    VersionView,
)
from app.api.uploads import receive
from app.core.lifecycle import TERMINAL, State
from app.core.memory import Memory
from app.core.names import AdapterName, check_memory_name
from app.core.recipe import Recipe
from app.errors import InvalidRequest, MemoryNotFound, MemoryNotReady
from app.services.remember import to_record

router = APIRouter(prefix="/v1/memories", tags=["memories"], responses=RESPONSES)

UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "name": {"type": "string"},
                        "options": {"type": "string", "description": "JSON: recipe, metadata, allow_duplicate, pinned"},
                    },
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["documents"],
                    "properties": {
                        "name": {"type": "string"},
                        "documents": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["name", "text"],
                                "properties": {"name": {"type": "string"}, "text": {"type": "string"}},
                            },
                        },
                        "options": {"type": "object"},
                    },
                }
            },
        },
    }
}
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


@router.post("", status_code=202, response_model=MemoryView, openapi_extra=UPLOAD)
async def remember(
    request: Request, response: Response, caller: Writer, gateway: GatewayDep, idempotency_key: IdempotencyKey = None
) -> MemoryView:
    """Make a memory of documents; readable at once, `ready` when it is trained and has passed its gate."""
    received = await receive(request, gateway.settings.max_upload_bytes, named=True)
    memory_id = await gateway.rememberer.remember(
        caller.tenant, received.name, received.uploads, received.options, key=idempotency_key
    )
    response.headers["Location"] = f"/v1/memories/{memory_id}"
    return await _view(gateway, await gateway.memories.get(caller.tenant, memory_id))


@router.get("", response_model=MemoryList)
async def list_memories(
    caller: Reader,
    gateway: GatewayDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str, Query(max_length=64)] = "",
    name: Annotated[str | None, Query(max_length=128)] = None,
) -> MemoryList:
    """List memories, newest first; `name` finds the one called so."""
    if name is not None:
        try:
            found, more = [await gateway.memories.find(caller.tenant, name)], False
        except MemoryNotFound:
            found, more = [], False
    else:
        found, more = await gateway.memories.page(caller.tenant, limit=limit, after=after)
    latest = await gateway.versions.many([(memory, memory.latest) for memory in found])
    by_id = {version.memory_id: version for version in latest}
    views = [MemoryView.of(memory, by_id[memory.id]) for memory in found if memory.id in by_id]
    return MemoryList(data=views, has_more=more, next=found[-1].id if more else None)


@router.get("/{memory_id}", response_model=MemoryView)
async def get_memory(memory: ReadableMemory, gateway: GatewayDep) -> MemoryView:
    """Show one memory."""
    return await _view(gateway, memory)


@router.patch("/{memory_id}", response_model=MemoryView)
async def patch_memory(memory: WritableMemory, body: PatchBody, gateway: GatewayDep) -> MemoryView:
    """Change a memory's name, metadata or pin, or the version that serves."""
    fields: dict[str, Any] = {}
    if body.version is not None:
        version = await gateway.versions.get(memory.tenant, memory.id, body.version)
        if version.state is not State.READY:
            raise MemoryNotReady(f"Version {body.version} is {version.state}: only one that is ready can serve.")
        fields["current"] = body.version
    if body.metadata is not None:
        fields["metadata"] = dict(body.metadata)
    if body.pinned is not None:
        fields["pinned"] = body.pinned
        await _pin(gateway, memory, body.pinned)
    if body.name is not None and body.name != memory.name:
        await gateway.memories.rename(memory.tenant, memory.id, check_memory_name(body.name))
    if fields:
        await gateway.memories.update(memory.tenant, memory.id, fields)
    memory = await gateway.memories.get(memory.tenant, memory.id)
    latest = await gateway.versions.get(memory.tenant, memory.id, memory.latest)
    record = to_record(memory, latest)
    await asyncio.to_thread(gateway.artifacts.write_memory, memory.tenant, memory.id, record)
    return MemoryView.of(memory, latest)


@router.post("/{memory_id}/documents", status_code=202, response_model=MemoryView, openapi_extra=UPLOAD)
async def add_documents(request: Request, memory: WritableMemory, gateway: GatewayDep) -> MemoryView:
    """Add documents: a new version of all of them; the old one serves until the new one has passed its gate."""
    received = await receive(request, gateway.settings.max_upload_bytes, named=False)
    recipe = received.options.recipe if received.recipe_given else None
    await gateway.rememberer.add_documents(memory, received.uploads, recipe)
    return await _view(gateway, await gateway.memories.get(memory.tenant, memory.id))


@router.get("/{memory_id}/versions", response_model=VersionList)
async def list_versions(memory: ReadableMemory, gateway: GatewayDep) -> VersionList:
    """List a memory's versions, newest first."""
    versions = await gateway.versions.of(memory)
    return VersionList(data=[VersionView.of(version, memory.current) for version in versions])


@router.get("/{memory_id}/events", response_class=EventSourceResponse)
async def follow_events(
    memory: ReadableMemory,
    gateway: GatewayDep,
    after: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> EventSourceResponse:
    """Follow what happens to a memory, from its beginning or after an event, until its newest version is over."""
    start = last_event_id or after or "0"
    if not re.fullmatch(r"\d{1,19}(-\d{1,19})?", start):
        raise InvalidRequest("Last-Event-ID is not the id of an event: send one as it was received.", "Last-Event-ID")
    return EventSourceResponse(_events(gateway, memory, start), ping=15)


@router.post("/{memory_id}/cancel", response_model=MemoryView)
async def cancel(memory: WritableMemory, gateway: GatewayDep) -> MemoryView:
    """Stop the newest version's training; what serves goes on serving."""
    await gateway.rememberer.cancel(await gateway.versions.get(memory.tenant, memory.id, memory.latest))
    return await _view(gateway, memory)


@router.post("/{memory_id}/retry", status_code=202, response_model=MemoryView)
async def retry(memory: WritableMemory, gateway: GatewayDep, body: RetryBody | None = None) -> MemoryView:
    """Train the newest version again after it failed, was rejected or was cancelled."""
    recipe = Recipe.from_dict(body.recipe) if body and body.recipe else None
    await gateway.rememberer.retry(await gateway.versions.get(memory.tenant, memory.id, memory.latest), recipe)
    return await _view(gateway, memory)


@router.delete("/{memory_id}", status_code=202, response_model=Deleted)
async def delete(memory: WritableMemory, gateway: GatewayDep) -> Deleted:
    """Delete a memory: gone at once for every reader, erased in the background."""
    await gateway.eraser.bury(memory, gateway.rememberer)
    return Deleted(id=memory.id)


@router.get("/{memory_id}/receipt", response_model=Receipt)
async def receipt(memory_id: str, caller: Reader, gateway: GatewayDep) -> Receipt:
    """Show what deleting a memory has erased, and when."""
    return Receipt(**await gateway.erasures.tombstone(caller.tenant, memory_id))


@router.get("/{memory_id}/export", response_class=StreamingResponse)
async def export(memory: ReadableMemory, gateway: GatewayDep) -> StreamingResponse:
    """Download the serving version as a tar of safetensors and manifest."""
    if not memory.current:
        raise MemoryNotReady(f"Memory {memory.name!r} has no version that serves yet.")
    version = await gateway.versions.get(memory.tenant, memory.id, memory.current)
    adapter = AdapterName.parse(version.adapter)
    packed = await asyncio.to_thread(_pack, gateway, adapter)
    headers = {"Content-Disposition": f'attachment; filename="{memory.id}.v{version.number}.tar"'}
    return StreamingResponse(packed, media_type="application/x-tar", headers=headers)


async def _view(gateway: Gateway, memory: Memory) -> MemoryView:
    return MemoryView.of(memory, await gateway.versions.get(memory.tenant, memory.id, memory.latest))


async def _events(gateway: Gateway, memory: Memory, after: str) -> AsyncIterator[ServerSentEvent]:
    async for event in gateway.events.follow(memory.tenant, memory.id, after):
        if event is not None:
            yield ServerSentEvent(id=event.id, event=event.kind, data=json.dumps(event.data, ensure_ascii=False))
        if event is None or event.kind == "state":
            try:
                now = await gateway.memories.get(memory.tenant, memory.id)
            except MemoryNotFound:
                return
            latest = await gateway.versions.get(now.tenant, now.id, now.latest)
            over = event is None or (event.data["version"], event.data["state"]) == (latest.number, latest.state)
            if latest.state in TERMINAL and over:
                return


async def _pin(gateway: Gateway, memory: Memory, pinned: bool) -> None:
    if memory.current:
        version = await gateway.versions.get(memory.tenant, memory.id, memory.current)
        await (gateway.engines.pin if pinned else gateway.engines.unpin)(version.adapter)


def _pack(gateway: Gateway, adapter: AdapterName) -> io.BufferedIOBase:
    folder = gateway.artifacts.local_folder(adapter)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=f"{adapter.memory_id}.v{adapter.version}/{path.name}")
    file.seek(0)
    return file
