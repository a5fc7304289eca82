"""`/v1/plans`: what documents would take; nothing is trained or kept."""

from fastapi import APIRouter, Request

from app.api.context import GatewayDep, Reader, bearer
from app.api.failures import RESPONSES
from app.api.replies import PlanView
from app.api.requests import PLAN
from app.api.uploads import read_question
from app.services.documents import read_documents

router = APIRouter(prefix="/v1/plans", tags=["plans"], responses=RESPONSES, dependencies=[bearer])


@router.post("", response_model=PlanView, openapi_extra=PLAN)
async def plan(request: Request, caller: Reader, gateway: GatewayDep) -> PlanView:
    """Plan what documents, or so many tokens, would take: rank, adapters, steps, size, recall, time."""
    asked = await read_question(request)
    load = asked.load or await read_documents([(one.name, one.data) for one in asked.uploads])
    return PlanView(**(await gateway.planner.plan(load, asked.ask.wish())).to_dict())
