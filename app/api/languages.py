"""`/v1/languages`: guards that keep answers in one language, and which language a text keeps to."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response
from sse_starlette import EventSourceResponse

from app.api.context import GatewayDep, Reader, Writer, bearer
from app.api.events import Narrator, event_after
from app.api.failures import RESPONSES, STREAM
from app.api.gateway import Gateway
from app.api.replies import CheckView, Deleted, GuardList, GuardView
from app.api.requests import CheckBody, GuardBody
from app.core.memory import Memory
from app.core.names import is_guard_id
from app.errors import InvalidRequest
from app.languages.policies import policy_for
from app.languages.report import check
from app.services.drafts import Ask
from app.services.guard_drafts import Wish
from app.stores.layout import GUARD

router = APIRouter(prefix="/v1/languages", tags=["languages"], responses=RESPONSES, dependencies=[bearer])


async def readable_guard(guard_id: str, caller: Reader, gateway: GatewayDep) -> Memory:
    """Return the guard that the path names, if it is the caller's tenant's."""
    return await gateway.guards.get(caller.tenant, guard_id)


async def writable_guard(guard_id: str, caller: Writer, gateway: GatewayDep) -> Memory:
    """Return the guard that the path names, if the caller may change it."""
    return await gateway.guards.get(caller.tenant, guard_id)


ReadableGuard = Annotated[Memory, Depends(readable_guard)]
WritableGuard = Annotated[Memory, Depends(writable_guard)]


@router.post("", status_code=202, response_model=GuardView)
async def train(body: GuardBody, response: Response, caller: Writer, gateway: GatewayDep) -> GuardView:
    """Train a guard for a language; readable at once, `ready` when it is trained and has passed its gate."""
    fields = {name: value for name, value in body.model_dump().items() if value is not None}
    guard_id = await gateway.guards.train(caller.tenant, Wish(**fields))
    response.headers["Location"] = f"/v1/languages/{guard_id}"
    return (await _views(gateway, [await gateway.guards.get(caller.tenant, guard_id)]))[0]


@router.get("", response_model=GuardList)
async def list_guards(
    caller: Reader,
    gateway: GatewayDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str, Query(max_length=64)] = "",
) -> GuardList:
    """List language guards, newest first."""
    if after and not is_guard_id(after):
        raise InvalidRequest("`after` is not a guard's id: send the `next` of the page before.", "after")
    found, more = await gateway.memories.page(caller.tenant, limit=limit, after=after, kind=GUARD)
    return GuardList(data=await _views(gateway, found), has_more=more, next=found[-1].id if more and found else None)


@router.post("/check", response_model=CheckView)
def check_text(body: CheckBody, caller: Reader) -> CheckView:
    """Say where a text leaves its language; nothing of it is kept."""
    # no coroutine: a long text takes most of a second, which a thread of its own spends
    return CheckView.model_validate(check(body.text, policy_for(body.language, strict=body.strict), body.prompt))


@router.get("/{guard_id}", response_model=GuardView)
async def get_guard(guard: ReadableGuard, gateway: GatewayDep) -> GuardView:
    """Show one guard, with its scores before and after."""
    return (await _views(gateway, [guard]))[0]


@router.get("/{guard_id}/events", response_class=EventSourceResponse, responses=STREAM)
async def follow_events(
    guard: ReadableGuard,
    gateway: GatewayDep,
    after: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> EventSourceResponse:
    """Follow what happens to a guard, from its beginning or after an event, until it is over."""
    narrator = Narrator(gateway.events, gateway.memories, gateway.versions)
    return EventSourceResponse(narrator.tell(guard, event_after(after, last_event_id)), ping=0)


@router.post("/{guard_id}/cancel", response_model=GuardView)
async def cancel(guard: WritableGuard, gateway: GatewayDep) -> GuardView:
    """Stop a guard's training."""
    await gateway.rememberer.cancel(await gateway.versions.get(guard.tenant, guard.id, guard.latest))
    return (await _views(gateway, [guard]))[0]


@router.post("/{guard_id}/retry", status_code=202, response_model=GuardView)
async def retry(guard: WritableGuard, gateway: GatewayDep) -> GuardView:
    """Queue a guard again that failed, was rejected or was cancelled; weights that are there are only asked again."""
    await gateway.rememberer.retry(await gateway.versions.get(guard.tenant, guard.id, guard.latest), Ask())
    return (await _views(gateway, [guard]))[0]


@router.delete("/{guard_id}", status_code=202, response_model=Deleted)
async def delete(guard: WritableGuard, gateway: GatewayDep) -> Deleted:
    """Delete a guard: gone at once for every reader, erased in the background."""
    await gateway.eraser.bury(guard, gateway.rememberer)
    return Deleted(id=guard.id)


async def _views(gateway: Gateway, guards: list[Memory]) -> list[GuardView]:
    versions = await gateway.versions.many([(guard, guard.latest) for guard in guards])
    by_id = {version.memory_id: version for version in versions}
    return [GuardView.of(guard, by_id[guard.id]) for guard in guards if guard.id in by_id]
