"""What endpoints work with: the gateway's parts, and who is asking."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.core.memory import Memory
from app.engines.client import EngineClient
from app.engines.fleet import Fleet
from app.errors import Forbidden, MemoryNotFound, Unauthenticated
from app.services.answer import Answerer
from app.services.erase import Eraser
from app.services.remember import Rememberer
from app.services.target import Resolver
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.engines import EngineStore
from app.stores.erasures import ErasureStore
from app.stores.events import EventStore
from app.stores.keys import ApiKey, KeyStore, Role
from app.stores.memories import MemoryStore
from app.stores.redis import Registry
from app.stores.versions import VersionStore


@dataclass(frozen=True)
class Gateway:
    """Everything that endpoints use, built once."""

    settings: Settings
    redis: Registry
    memories: MemoryStore
    versions: VersionStore
    events: EventStore
    erasures: ErasureStore
    keys: KeyStore
    engines: EngineStore
    artifacts: ArtifactStore
    client: EngineClient
    fleet: Fleet
    resolver: Resolver
    answerer: Answerer
    rememberer: Rememberer
    eraser: Eraser


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(gateway_of)]


async def caller_of(request: Request, gateway: GatewayDep) -> ApiKey:
    """Return the key that a request shows.

    Raises:
        Unauthenticated: it shows none that is valid.
    """
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated("Send an API key: Authorization: Bearer <key>.")
    return await gateway.keys.check(secret.strip())


Caller = Annotated[ApiKey, Depends(caller_of)]


def needs(role: Role) -> object:
    """Return a dependency that asks for a role."""

    async def check(caller: Caller) -> ApiKey:
        if not caller.role.covers(role):
            raise Forbidden(f"This key's role is {caller.role} and this call needs {role}: use another key.")
        return caller

    return Depends(check)


Reader = Annotated[ApiKey, needs(Role.READER)]
Writer = Annotated[ApiKey, needs(Role.WRITER)]
Admin = Annotated[ApiKey, needs(Role.ADMIN)]


async def readable_memory(memory_id: str, caller: Reader, gateway: GatewayDep) -> Memory:
    """Return the memory that the path names, if it is the caller's tenant's."""
    return await _memory(memory_id, caller, gateway)


async def writable_memory(memory_id: str, caller: Writer, gateway: GatewayDep) -> Memory:
    """Return the memory that the path names, if the caller may change it."""
    return await _memory(memory_id, caller, gateway)


ReadableMemory = Annotated[Memory, Depends(readable_memory)]
WritableMemory = Annotated[Memory, Depends(writable_memory)]


async def _memory(memory_id: str, caller: ApiKey, gateway: Gateway) -> Memory:
    if not memory_id.startswith("mem_"):
        raise MemoryNotFound(f"There is no memory {memory_id[:64]!r}: ids begin with mem_.")
    return await gateway.memories.get(caller.tenant, memory_id)
