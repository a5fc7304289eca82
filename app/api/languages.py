"""`/v1/languages`: which language a text keeps to."""

from fastapi import APIRouter

from app.api.context import Reader, bearer
from app.api.failures import RESPONSES
from app.api.replies import CheckView
from app.api.requests import CheckBody
from app.languages.policies import policy_for
from app.languages.report import check

router = APIRouter(prefix="/v1/languages", tags=["languages"], responses=RESPONSES, dependencies=[bearer])


@router.post("/check", response_model=CheckView)
def check_text(body: CheckBody, caller: Reader) -> CheckView:
    """Say where a text leaves its language; nothing of it is kept."""
    # no coroutine: a long text takes most of a second, which a thread of its own spends
    return CheckView.model_validate(check(body.text, policy_for(body.language, strict=body.strict), body.prompt))
