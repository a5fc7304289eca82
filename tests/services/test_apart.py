"""Work in a process of its own ends within its limits, and a process that dies takes nobody with it."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from app.errors import UnreadableDocument
from app.services.apart import MEMORY_LIMIT_BYTES, apart

REFUSAL = UnreadableDocument("It is too much.", "file")


async def test_work_comes_back_with_what_it_made() -> None:
    assert await apart(divmod, 7, 2, time_limit_s=60, refusal=REFUSAL) == (3, 1)


@pytest.mark.parametrize(("work", "given"), [(os._exit, 1), (bytes, MEMORY_LIMIT_BYTES)], ids=["dies", "too large"])
async def test_work_that_dies_or_takes_too_much_memory_is_refused(work: Callable[[int], Any], given: int) -> None:
    with pytest.raises(UnreadableDocument, match="too much"):
        await apart(work, given, time_limit_s=60, refusal=REFUSAL)

    assert await apart(abs, -1, time_limit_s=60, refusal=REFUSAL) == 1


async def test_what_the_work_itself_raises_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        await apart(divmod, 1, 0, time_limit_s=60, refusal=REFUSAL)
