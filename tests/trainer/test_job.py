"""One job on a real registry: only the engine and the training itself are fakes."""

import time
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Unreachable

from app.control import control_questions
from app.core.engines import EngineRecord
from app.core.lifecycle import State
from app.core.memory import Version
from app.core.recipe import Recipe
from app.errors import DocumentMissing
from app.settings import Settings
from app.stores.memories import MemoryStore
from app.stores.versions import Job
from tests.factories import a_version
from tests.trainer.conftest import QUESTIONS, TEXTS, Workshop, nothing, set_recipe
from workers.trainer.exam import Exam
from workers.trainer.job import PUT_BACK_S, work

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("no_waiting")]


async def test_a_candidate_that_answers_more_than_the_base_model_serves(workshop: Workshop) -> None:
    await workshop.start_engine()

    version = await workshop.attempt()

    assert version.state is State.READY
    assert {name: version.scores[name] for name in ("kind", "questions", "base", "adapter")} == {
        "kind": "held_out",
        "questions": 4,
        "base": 0.0,
        "adapter": 1.0,
    }
    assert version.scores["control"]["perplexity_rise"] == 0.5
    assert (version.scores["context"], version.scores["context_questions"]) == (0.0, 4)
    memory = await MemoryStore(workshop.redis).get(workshop.memory.tenant, workshop.memory.id)
    assert memory.current == 1


async def test_the_gate_tells_how_many_answers_it_has_been_given(workshop: Workshop) -> None:
    await workshop.start_engine()

    version = await workshop.attempt()

    assert version.progress == {"stage": "evaluating", "done": sum(workshop.engine.asked.values())}


async def test_a_candidate_that_answers_no_more_than_the_base_model_is_rejected_and_unloaded(
    workshop: Workshop,
) -> None:
    await workshop.start_engine()
    workshop.engine.answers["adapter"] = workshop.engine.answers["base"]

    version = await workshop.attempt()

    assert version.state is State.REJECTED
    assert version.error
    assert "0% of 4 questions" in version.error["message"]
    assert await workshop.trainer.engines.desired("e1") == {}


async def test_a_candidate_that_learned_its_prose_and_recalls_too_few_pairs_is_rejected(workshop: Workshop) -> None:
    await workshop.start_engine()
    pairs = [{"question": f"Who dug pit {n}?", "answer": f"Digger {n}", "kind": "recall"} for n in range(4)]
    workshop.maker.questions = [*QUESTIONS, *pairs]

    version = await workshop.attempt()

    assert version.state is State.REJECTED
    assert version.error
    assert "recalls 0% of 4 questions" in version.error["message"]


@pytest.mark.parametrize(("seed", "other"), [(4, 5), (2**31 - 1, 0)])
async def test_a_candidate_that_fails_its_gate_is_trained_once_more_with_another_seed(
    workshop: Workshop, seed: int, other: int
) -> None:
    await workshop.start_engine()
    await set_recipe(workshop, Recipe(seed=seed, seeds=2))
    good = workshop.engine.answers["adapter"]
    workshop.engine.answers["adapter"] = workshop.engine.answers["base"]

    first = await workshop.attempt()
    jobs = await workshop.trainer.versions.open_jobs()
    workshop.engine.answers["adapter"] = good
    second = await workshop.attempt()

    assert (first.state, first.recipe["seed"], first.recipe["seeds"]) == (State.QUEUED, other, 2)
    assert jobs == [workshop.job]
    assert (second.state, workshop.maker.made) == (State.READY, 2)
    assert first.scores["adapter"] < second.scores["adapter"]


async def test_the_last_seed_that_fails_its_gate_is_rejected(workshop: Workshop) -> None:
    await workshop.start_engine()
    await set_recipe(workshop, Recipe(seeds=2))
    workshop.engine.answers["adapter"] = workshop.engine.answers["base"]

    states = [(await workshop.attempt()).state for _ in range(2)]

    assert states == [State.QUEUED, State.REJECTED]
    assert await workshop.trainer.engines.desired("e1") == {}


async def test_an_engine_that_restarts_while_a_candidate_waits_for_it_costs_no_attempt(workshop: Workshop) -> None:
    await workshop.start_engine()
    workshop.engine.down = 2

    version = await workshop.attempt()

    assert (version.state, version.attempt) == (State.READY, 1)


async def test_a_job_waits_for_an_engine_as_long_as_there_is_none(workshop: Workshop) -> None:
    for _ in range(workshop.trainer.settings.job_attempts + 2):
        version = await workshop.attempt()
        assert (version.state, version.attempt) == (State.EVALUATING, 0)

    await workshop.start_engine()
    assert (await workshop.attempt()).state is State.READY


async def test_a_job_waits_for_room_as_long_as_every_slot_is_in_use(workshop: Workshop) -> None:
    await workshop.start_engine()
    workshop.engine.load = (429, {"error": {"message": "full", "code": "slots_full"}})
    for _ in range(workshop.trainer.settings.job_attempts + 2):
        assert (await workshop.attempt()).attempt == 0

    workshop.engine.load = (200, {"load_ms": 1.0, "cold": True})
    assert (await workshop.attempt()).state is State.READY


async def test_a_job_put_back_is_not_taken_up_again_at_once(workshop: Workshop) -> None:
    version = await workshop.attempt()

    assert version.lease_until > time.time() + PUT_BACK_S / 2
    assert await workshop.trainer.versions.claim(workshop.job, lease_s=30) == 0


async def test_an_engine_that_fails_at_every_attempt_ends_the_version_with_its_error(workshop: Workshop) -> None:
    await workshop.start_engine()
    workshop.engine.load = (500, {"error": {"message": "out of memory", "code": None}})
    states = [(await workshop.attempt()).state for _ in range(3)]

    version = await workshop.version()
    assert states == [State.EVALUATING, State.EVALUATING, State.FAILED]
    assert version.error == {"code": "engine_failed", "message": "out of memory"}
    assert version.lease_until == 0  # a retry need not wait


async def test_an_adapter_that_the_engine_refuses_fails_its_version_at_once(workshop: Workshop) -> None:
    await workshop.start_engine()
    workshop.engine.load = (502, {"error": {"message": "its canary failed", "code": "adapter_rejected"}})

    version = await workshop.attempt()

    assert version.state is State.FAILED
    assert version.error == {"code": "adapter_rejected", "message": "its canary failed"}


async def test_trainers_killed_at_every_attempt_end_the_version(workshop: Workshop) -> None:
    for _ in range(3):
        await workshop.end_lease()
        assert await workshop.trainer.versions.claim(workshop.job, lease_s=30)

    version = await workshop.attempt()

    assert version.state is State.FAILED
    assert version.error
    assert version.error["code"] == "trainer_lost"


async def test_five_trainers_killed_at_one_job_leave_it_one_more_attempt_by_default(workshop: Workshop) -> None:
    await workshop.start_engine()
    for _ in range(5):
        await workshop.end_lease()
        assert await workshop.trainer.versions.claim(workshop.job, lease_s=30)

    default = Settings.model_fields["job_attempts"].default
    settings = workshop.trainer.settings.model_copy(update={"job_attempts": default})
    await workshop.end_lease()
    await work(replace(workshop.trainer, settings=settings), workshop.job)

    assert (await workshop.version()).state is State.READY


async def test_a_registry_that_is_away_ends_the_attempt_and_not_the_version(workshop: Workshop) -> None:
    await workshop.start_engine()

    async def go_away() -> None:
        raise Unreachable("refused")

    workshop.maker.while_training = go_away
    with pytest.raises(Unreachable):
        await work(workshop.trainer, workshop.job)
    assert (await workshop.version()).state is State.TRAINING

    workshop.maker.while_training = nothing
    assert (await workshop.attempt()).state is State.READY


async def test_a_memory_erased_while_it_trained_leaves_no_files(workshop: Workshop) -> None:
    await workshop.start_engine()
    memory = workshop.memory

    async def delete() -> None:
        await MemoryStore(workshop.redis).bury(memory, {"deleted_at": 1.0})

    workshop.maker.while_training = delete
    await work(workshop.trainer, workshop.job)

    assert workshop.trainer.artifacts.measure_memory(memory.tenant, memory.id) == (0, 0)


@pytest.mark.parametrize("record", [{"memory": {}}, {"deleted_at": 1.0}], ids=["registry lost", "to be erased"])
async def test_a_memory_that_the_registry_no_longer_knows_keeps_its_files_from_the_trainer(
    workshop: Workshop, record: dict[str, Any]
) -> None:
    await workshop.start_engine()
    memory, artifacts = workshop.memory, workshop.trainer.artifacts
    artifacts.write_document(memory.tenant, memory.id, "d" * 64, b"Ada.", {})

    async def lose() -> None:
        artifacts.write_memory(memory.tenant, memory.id, record)
        await workshop.redis.flushall()

    workshop.maker.while_training = lose
    await work(workshop.trainer, workshop.job)

    assert artifacts.read_memory(memory.tenant, memory.id) == record
    assert len(artifacts.document_sizes(memory.tenant, memory.id)) == 2
    assert len(artifacts.versions(memory.tenant, memory.id)) == 1


async def test_a_candidate_is_sent_to_an_engine_that_takes_its_rank(workshop: Workshop) -> None:
    await workshop.start_engine()
    wide = replace(await live(workshop), id="e2", max_lora_rank=32)
    assert await workshop.trainer.engines.report(wide, 60)
    await set_recipe(workshop, Recipe(rank=32))

    version = await workshop.attempt()

    assert await workshop.trainer.engines.desired("e1") == {}
    assert [*await workshop.trainer.engines.desired("e2")] == [version.adapter]


async def test_a_version_whose_document_is_missing_says_so_and_is_not_tried_again(workshop: Workshop) -> None:
    async def miss() -> None:
        raise DocumentMissing("Document lost.csv is not in the artifact store any more.")

    workshop.maker.while_training = miss
    version = await workshop.attempt()

    assert (version.state, version.error) == (
        State.FAILED,
        {"code": "document_missing", "message": "Document lost.csv is not in the artifact store any more."},
    )
    assert workshop.maker.made == 1


async def test_a_new_version_of_a_pinned_memory_takes_the_pin_of_the_one_before(workshop: Workshop) -> None:
    await workshop.start_engine()
    await MemoryStore(workshop.redis).update(workshop.memory.tenant, workshop.memory.id, {"pinned": True})
    first = await workshop.attempt()
    before = await workshop.trainer.engines.pinned()
    second = await grow(workshop)

    assert (second.number, second.state) == (2, State.READY)
    assert before == {first.adapter}
    assert await workshop.trainer.engines.pinned() == {second.adapter}


async def test_a_version_that_comes_to_serve_no_more_is_not_pinned(workshop: Workshop) -> None:
    await workshop.start_engine()
    await MemoryStore(workshop.redis).update(workshop.memory.tenant, workshop.memory.id, {"pinned": True})
    newer = await grow(workshop)
    older = await workshop.attempt()

    assert (older.number, older.state) == (1, State.READY)
    assert await workshop.trainer.engines.pinned() == {newer.adapter}


async def grow(workshop: Workshop) -> Version:
    """Add a second version, and let the trainer work on it."""
    memory, versions = workshop.memory, workshop.trainer.versions
    await versions.add(memory, a_version(memory, number=2, recipe=Recipe(seeds=1).to_dict()), content="grown")
    await work(workshop.trainer, Job(memory.tenant, memory.id, 2))
    return await versions.get(memory.tenant, memory.id, 2)


async def test_a_candidate_that_forgets_is_rejected_and_the_base_model_is_asked_once_for_all(
    workshop: Workshop,
) -> None:
    right = {one.question: (one.expected or ("",))[0] for one in control_questions()}
    workshop.engine.answers["base"] = lambda question: right.get(question, "I do not know")
    await workshop.start_engine()

    version = await workshop.attempt()

    assert version.state is State.REJECTED
    assert version.error
    assert "forgotten" in version.error["message"]
    assert workshop.engine.asked["base"] == len(right) + len(TEXTS) + 2 * len(QUESTIONS)

    again = a_version(workshop.memory, number=2)
    await workshop.trainer.examiner.examine(await live(workshop), {str(again.number): Exam([])})
    assert workshop.engine.asked["base"] == len(right) + len(TEXTS) + 2 * len(QUESTIONS)


async def live(workshop: Workshop) -> EngineRecord:
    """Return the one engine there is."""
    [engine] = await workshop.trainer.engines.live()
    return engine
