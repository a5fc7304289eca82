"""Versions through the trainer: what serves while another is made, is refused or is cancelled."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.control import control_questions
from app.core.lifecycle import State
from app.core.memory import Version
from app.core.recipe import Recipe
from app.stores.memories import MemoryStore
from app.stores.versions import Job
from tests.factories import a_version
from tests.trainer.conftest import Workshop, depth_in
from workers.trainer.job import work
from workers.trainer.write import find_candidates

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("no_waiting")]


async def second(workshop: Workshop) -> Version:
    """Grow a memory whose first version serves; return its second version as the trainer left it."""
    trainer, memory = workshop.trainer, workshop.memory
    grown = replace(a_version(memory, number=2), recipe=Recipe(seeds=1).to_dict())
    await trainer.versions.add(memory, grown, content="union")
    await work(trainer, Job(memory.tenant, memory.id, 2))
    return await trainer.versions.get(memory.tenant, memory.id, 2)


async def current(workshop: Workshop) -> int:
    return (await MemoryStore(workshop.redis).get(workshop.memory.tenant, workshop.memory.id)).current


@pytest.mark.parametrize(
    ("say", "state", "serves"),
    [(depth_in, State.READY, 2), (lambda _: "I do not know", State.REJECTED, 1)],
)
async def test_the_old_version_serves_until_a_new_one_passes_its_gate(
    workshop: Workshop, say: Callable[[str], str], state: State, serves: int
) -> None:
    await workshop.start_engine()
    assert (await workshop.attempt()).state is State.READY
    workshop.engine.answers["adapter"] = say
    seen: list[int] = []

    async def look() -> None:
        seen.append(await current(workshop))

    workshop.maker.while_training = look
    version = await second(workshop)

    assert (seen, version.state, await current(workshop)) == ([1], state, serves)


@pytest.mark.parametrize("state", [State.TRAINING, State.EVALUATING])
async def test_a_version_cancelled_while_it_is_made_never_serves(workshop: Workshop, state: State) -> None:
    await workshop.start_engine()

    async def cancel() -> None:
        await workshop.trainer.versions.change(await workshop.version(), State.CANCELLED)

    if state is State.TRAINING:
        workshop.maker.while_training = cancel
    else:
        workshop.engine.on_load = cancel
    version = await workshop.attempt()

    assert version.state is State.CANCELLED
    assert await current(workshop) == 0


async def test_a_retry_with_other_limits_asks_the_weights_that_are_there(workshop: Workshop) -> None:
    right = {one.question: (one.expected or ("",))[0] for one in control_questions()}
    workshop.engine.answers["base"] = lambda question: right.get(question, "I do not know")
    await workshop.start_engine()
    rejected = await workshop.attempt()
    lax = {**rejected.recipe, "min_kept": 0.0}
    again = replace(rejected, recipe=lax)
    store = workshop.trainer.artifacts

    assert rejected.state is State.REJECTED
    assert find_candidates(store, again, "b" * 64)
    assert not find_candidates(store, replace(again, recipe={**lax, "rank": 4}), "b" * 64)


async def test_a_candidate_that_came_without_questions_is_asked_the_control_set(workshop: Workshop) -> None:
    right = {one.question: (one.expected or ("",))[0] for one in control_questions()}
    workshop.engine.answers["base"] = lambda question: right.get(question, "I do not know")
    workshop.maker.questions = []
    await workshop.start_engine()

    version = await workshop.attempt()

    assert version.state is State.REJECTED
    assert version.error
    assert version.error["message"].startswith("It has forgotten")
