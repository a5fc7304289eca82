"""What endpoints work with: the gateway's parts, and who is asking."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from app.api.gateway import Gateway
from app.core.memory import Memory
from app.core.roles import Role
from app.errors import Forbidden, MemoryNotFound
from app.stores.keys import ApiKey

bearer = Security(HTTPBearer(auto_error=False, description="An API key, `lk_…`. The edge checks it."))


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def needs(role: Role) -> Callable[[Request], ApiKey]:
    """Return a dependency that asks for a role of the key that the edge has checked."""

    def check(request: Request) -> ApiKey:
        caller: ApiKey = request.state.key
        if not caller.role.covers(role):
            raise Forbidden(f"This key's role is {caller.role} and this call needs {role}: use another key.")
        return caller

    return check


GatewayDep = Annotated[Gateway, Depends(gateway_of)]
Reader = Annotated[ApiKey, Depends(needs(Role.READER))]
Writer = Annotated[ApiKey, Depends(needs(Role.WRITER))]
Admin = Annotated[ApiKey, Depends(needs(Role.ADMIN))]


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
