"""The guard's errors are told as the gateway's are."""

import pytest

from app.api.failures import to_response
from app.errors import Busy, EngineFailed, Forbidden, NotFound, ServiceError, StateConflict, TooLarge, Unauthenticated
from workers.engine.replies import render_error


@pytest.mark.parametrize("kind", [Unauthenticated, Forbidden, NotFound, StateConflict, TooLarge, Busy, EngineFailed])
def test_an_error_has_one_body_wherever_it_is_told(kind: type[ServiceError]) -> None:
    error = kind("It is so.", "field")

    assert bytes(render_error(error).body) == bytes(to_response(error, "r").body)
