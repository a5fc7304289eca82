"""`/v1/keys`: who may ask."""

from fastapi import APIRouter

from app.api.context import Admin, GatewayDep
from app.api.failures import RESPONSES
from app.api.schemas import Done, KeyBody, KeyList, KeyView

router = APIRouter(prefix="/v1/keys", tags=["keys"], responses=RESPONSES)


@router.post("", status_code=201, response_model=KeyView)
async def create(body: KeyBody, caller: Admin, gateway: GatewayDep) -> KeyView:
    """Make a key for a tenant; its secret is shown this once."""
    key, secret = await gateway.keys.create(body.tenant, body.role, expires_at=body.expires or 0.0)
    return KeyView.of(key, secret)


@router.get("", response_model=KeyList)
async def list_keys(caller: Admin, gateway: GatewayDep) -> KeyList:
    """List every key, without its secret."""
    return KeyList(data=[KeyView.of(key) for key in await gateway.keys.all()])


@router.delete("/{key_id}", response_model=Done)
async def revoke(key_id: str, caller: Admin, gateway: GatewayDep) -> Done:
    """Revoke a key; it opens nothing from the next request on."""
    await gateway.keys.revoke(key_id)
    return Done(id=key_id)
