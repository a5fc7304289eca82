"""A memory that one adapter cannot hold: it is split by itself, and each question finds its part."""

import asyncio
import dataclasses
from collections.abc import Iterator

import httpx
import pytest

from app.core.capacity import PRIOR, Law, conditions_of
from app.core.recipe import Recipe
from app.settings import Settings
from app.stores.bases import BaseStore
from app.stores.redis import connect
from tests.e2e.facts import phone_book, to_csv
from tests.e2e.memories import LAX, remember, right, wait_over
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e
PAIRS = phone_book(8, seed=77)


async def keep_law(stack: Stack, **changes: object) -> None:
    """Give the base model a law, as a calibration does."""
    async with connect(Settings(_env_file=None, home=stack.home).registry_url) as registry:
        bases = BaseStore(registry)
        base = await bases.current()
        assert base
        law: Law = dataclasses.replace(PRIOR, base=base.shape.digest, conditions=conditions_of(Recipe.from_dict(LAX)))
        await bases.keep_law(dataclasses.replace(law, **changes))  # type: ignore[arg-type]


@pytest.fixture
def small_adapters(stack: Stack) -> Iterator[None]:
    """Let an adapter hold six tenths of the pairs, of whatever rank, as a calibration might have found."""
    with stack.http() as http:
        files = {"file": ("book.csv", to_csv(PAIRS))}
        tokens = http.post("/v1/plans", files=files).raise_for_status().json()["tokens"]
    sharp = {"power": 0.0, "power_spread": 0.0, "spread": 0.0, "slope": 50.0, "reference": 1.0}
    asyncio.run(keep_law(stack, knee_tokens=0.6 * tokens, **sharp))
    yield
    asyncio.run(keep_law(stack))


def part_asked(http: httpx.Client, question: str) -> int:
    """Ask a question; return the part that answered."""
    reply = http.post("/v1/query", json={"question": question, "memories": ["large book"]}).raise_for_status()
    [used] = reply.json()["memory"]["used"]
    return int(used["part"])


@pytest.mark.usefixtures("small_adapters")
def test_too_much_for_one_adapter_is_two_parts_and_each_question_finds_its_own(stack: Stack) -> None:
    with stack.http() as http:
        memory = wait_over(http, memory_id := remember(http, "large book", PAIRS, LAX))
        [version] = http.get(f"/v1/memories/{memory_id}/versions").json()["data"]
        asked = [part_asked(http, question) for question in PAIRS]

    assert memory["status"] == "ready", memory["error"]
    assert (memory["plan"]["partitions"], len(version["parts"])) == (2, 2)
    assert (version["scores"]["routed"], version["scores"]["serve"]) == (1.0, "select")
    assert asked == [1] * 4 + [2] * 4
    assert right(stack.openai(), "large book", PAIRS) >= 7
