"""`/v1/keys`: who may ask."""

import time
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from app.api.context import Admin, GatewayDep, bearer
from app.api.failures import RESPONSES
from app.api.requests import KeyBody
from app.core.roles import Role
from app.errors import Conflict, InvalidRequest
from app.stores.keys import ADMIN_KEY_ID, ApiKey

router = APIRouter(prefix="/v1/keys", tags=["keys"], responses=RESPONSES, dependencies=[bearer])


class KeyView(BaseModel):
    """A key; `key` is its secret and is shown at its making only."""

    id: str
    object: Literal["key"] = "key"
    tenant: str
    role: Role
    created_at: float
    expires_at: float | None
    key: str | None = None

    @classmethod
    def of(cls, key: ApiKey, secret: str | None = None) -> "KeyView":
        """Show a key."""
        return cls(
            id=key.id,
            tenant=key.tenant,
            role=key.role,
            created_at=key.created_at,
            expires_at=key.expires_at or None,
            key=secret,
        )


class KeyList(BaseModel):
    """Every key."""

    object: Literal["list"] = "list"
    data: list[KeyView]


class Revoked(BaseModel):
    """A key that opens nothing any more."""

    id: str
    object: Literal["key.deleted"] = "key.deleted"
    deleted: Literal[True] = True


@router.post("", status_code=201, response_model=KeyView)
async def create(body: KeyBody, caller: Admin, gateway: GatewayDep) -> KeyView:
    """Make a key for a tenant; its secret is shown this once."""
    expires_at = body.expires.timestamp() if body.expires else 0.0
    if body.expires and expires_at <= time.time():
        raise InvalidRequest("expires lies in the past: name a later time.", "expires")
    key, secret = await gateway.keys.create(body.tenant, body.role, expires_at=expires_at)
    return KeyView.of(key, secret)


@router.get("", response_model=KeyList)
async def list_keys(caller: Admin, gateway: GatewayDep) -> KeyList:
    """List every key, without its secret."""
    return KeyList(data=[KeyView.of(key) for key in await gateway.keys.all()])


@router.delete("/{key_id}", response_model=Revoked)
async def revoke(key_id: str, caller: Admin, gateway: GatewayDep) -> Revoked:
    """Revoke a key; it opens nothing from the next request on."""
    if key_id == ADMIN_KEY_ID:
        raise Conflict("This is the installation's own admin key: change LOREKEEP_ADMIN_KEY and restart instead.")
    await gateway.keys.revoke(key_id)
    return Revoked(id=key_id)
