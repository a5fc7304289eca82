"""A version that one adapter cannot hold: its parts are trained one after another, asked apart and judged together."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from app.control import control_questions
from app.core.documents import Document, Pair
from app.core.lifecycle import State
from app.core.memory import Version
from app.core.names import AdapterName
from app.core.recipe import Recipe
from app.rank import SELECTION, Published
from app.retrieve import PartIndex
from app.stores.artifacts import ArtifactStore
from app.stores.bases import BaseStore
from app.stores.memories import MemoryStore
from app.stores.redis import Registry
from tests.trainer.conftest import QUESTIONS, Workshop, depth_in, set_recipe
from tests.trainer.test_make import make, remembered, tiny_maker
from workers.trainer.write import Candidate, planned_parts

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("no_waiting")]
NAMES = ["Ada Abbring", "Bela Brandeis", "Cyra Corvane", "Dov Dalmeyer", "Elin Estrup", "Fabe Falkner"]
BOOK = Document("a.csv", "pairs", "", tuple(Pair(f"Who is {n}?", f"{n[:3]} 7") for n in NAMES), "d" * 64, 9)
PAGE = Document("a.md", "prose", "The ferry of Tarn left the quay at nine. Its bell was cast in 1787.", (), "e" * 64, 9)
PLAN = {"partitions": 3}


class Killed(BaseException):
    """The process dies here."""


class DiesAfter(BaseStore):
    """Kills the process when so many parts are trained."""

    left = 1

    async def note_speed(self, digest: str, tokens_per_s: float) -> None:
        self.left -= 1
        if not self.left:
            raise Killed


def rows(artifacts: ArtifactStore, made: list[Candidate], file: str) -> list[list[dict[str, Any]]]:
    return [artifacts.read_lines(one.name, file) for one in made]


async def test_each_part_is_an_adapter_of_its_own_that_learned_its_own_pairs(redis: Registry, tmp_path: Path) -> None:
    maker = await tiny_maker(redis, tmp_path)
    told: list[dict[str, Any]] = []

    async def tell(progress: dict[str, Any]) -> None:
        told.append(progress)

    version = remembered(maker.artifacts, [BOOK], plan=PLAN)
    made = await make(maker, version, tell)
    manifests = [maker.artifacts.read_manifest(one.name) for one in made]
    learned = rows(maker.artifacts, made, "examples.jsonl")
    named = [Published.from_json(maker.artifacts.read_file(one.name, SELECTION)) for one in made]

    assert ["csv" in one.body.words for one in named if one] == [True, False, False]
    assert [one["part"] for one in manifests] == [{"index": n, "of": 3} for n in (1, 2, 3)]
    assert {one["name"] for one in manifests} == {str(one.name) for one in made}
    assert len({one.digest for one in made}) == 3
    assert [[row["question"] for row in part] for part in learned] == [
        [f"Who is {name}?" for name in NAMES[first : first + 2]] for first in (0, 2, 4)
    ]
    for file in ("questions.jsonl", "passages.jsonl"):
        assert [len(part) for part in rows(maker.artifacts, made, file)] == [2, 2, 2]
    assert [one for one in told if one["stage"] == "training"][-1].items() >= {"part": 3, "parts": 3}.items()
    assert not list((tmp_path / "jobs").glob("*/*"))


async def test_a_trainer_killed_between_parts_goes_on_with_the_part_it_was_in(redis: Registry, tmp_path: Path) -> None:
    maker = await tiny_maker(redis, tmp_path)
    undisturbed = await make(maker, remembered(maker.artifacts, [BOOK], plan=PLAN))
    version = remembered(maker.artifacts, [BOOK], plan=PLAN)
    with pytest.raises(Killed):
        await make(dataclasses.replace(maker, bases=DiesAfter(redis)), version)
    left = maker.artifacts.versions(version.tenant, version.memory_id)
    told: list[int] = []

    async def tell(progress: dict[str, Any]) -> None:
        told.append(progress.get("part", 0))

    made = await make(maker, version, tell)

    assert len(left) == 1
    assert made[0].name == left[0]
    assert set(told) == {2, 3}
    assert [one.digest for one in made] == [one.digest for one in undisturbed]
    assert len(maker.artifacts.versions(version.tenant, version.memory_id)) == 3
    assert await make(maker, version) == made


async def test_parts_that_hold_pairs_alone_are_trained_as_the_prose_beside_them_was_planned(
    redis: Registry, tmp_path: Path
) -> None:
    maker = await tiny_maker(redis, tmp_path)
    layers = []
    for documents in ([BOOK], [PAGE, BOOK]):
        version = remembered(maker.artifacts, documents, plan=PLAN)
        for one in await make(maker, version):
            saved = load_file(maker.artifacts.local_folder(one.name) / "adapter_model.safetensors")
            layers.append(len({name.split(".layers.")[1].split(".")[0] for name in saved}))

    assert layers == [1, 1, 1, 2, 2, 2]


async def test_parts_that_hold_prose_alone_have_the_passes_of_the_pairs_beside_them(
    redis: Registry, tmp_path: Path
) -> None:
    maker = await tiny_maker(redis, tmp_path)
    passes = []
    for documents in ([PAGE], [PAGE, BOOK]):
        version = remembered(maker.artifacts, documents, plan=PLAN)
        version = dataclasses.replace(version, recipe=version.recipe | {"epochs": 3, "min_steps": 1, "stop_loss": 0})
        made = await make(maker, version)
        passes.append([steps[-1]["epoch"] for steps in rows(maker.artifacts, made, "steps.jsonl")])

    assert set(passes[0]) == {1}
    assert passes[1] == [3, 3, 3]


async def test_parts_of_another_plan_are_not_taken_for_this_ones(redis: Registry, tmp_path: Path) -> None:
    maker = await tiny_maker(redis, tmp_path)
    version = remembered(maker.artifacts, [BOOK], plan=PLAN)
    three = await make(maker, version)
    two = await make(maker, dataclasses.replace(version, plan={"partitions": 2}))

    assert (len(three), len(two)) == (3, 2)
    assert not {one.name for one in three} & {one.name for one in two}


async def test_there_are_no_more_parts_than_facts_and_they_are_found_again(redis: Registry, tmp_path: Path) -> None:
    maker = await tiny_maker(redis, tmp_path)
    small = dataclasses.replace(BOOK, pairs=BOOK.pairs[:2])
    version = remembered(maker.artifacts, [small], plan=PLAN)
    made = await make(maker, version)

    assert [maker.artifacts.read_manifest(one.name)["part"]["of"] for one in made] == [2, 2]
    assert await make(maker, version) == made


async def test_a_version_without_a_plan_has_the_parts_that_it_came_with(redis: Registry, tmp_path: Path) -> None:
    maker = await tiny_maker(redis, tmp_path)
    version = remembered(maker.artifacts, [BOOK], plan=PLAN)
    made = await make(maker, version)
    imported = dataclasses.replace(version, plan=None)

    assert planned_parts(maker.artifacts, imported) == 3
    assert await make(maker, imported) == made
    assert planned_parts(maker.artifacts, remembered(maker.artifacts, [BOOK])) == 1


async def test_selection_routes_each_pair_to_the_part_that_learned_it(redis: Registry, tmp_path: Path) -> None:
    maker = await tiny_maker(redis, tmp_path)
    made = await make(maker, remembered(maker.artifacts, [BOOK], plan=PLAN))
    passages = [[row["text"] for row in part] for part in rows(maker.artifacts, made, "passages.jsonl")]
    index = PartIndex(passages)
    cited = [row["index"] for part in rows(maker.artifacts, made, "passages.jsonl") for row in part]
    assert len(set(cited)) == len(cited)

    assert [index.pick(pair.question) for pair in BOOK.pairs] == [0, 0, 1, 1, 2, 2]
    assert index.pick("Qui?") == 0


def name_of(workshop: Workshop, part: int) -> str:
    """Return what engines call a part that the fake maker has written."""
    return f"acme.{workshop.memory.id}.v1.{hashlib.sha256(bytes([part])).hexdigest()[:12]}"


async def judged(workshop: Workshop, parts: int = 2) -> Version:
    """Let the gate judge a version of so many parts."""
    workshop.maker.parts = parts
    await workshop.start_engine()
    return await workshop.attempt()


async def test_parts_that_answer_what_they_learned_serve_together(workshop: Workshop) -> None:
    await MemoryStore(workshop.redis).update("acme", workshop.memory.id, {"pinned": True})
    version = await judged(workshop)
    names = (name_of(workshop, 1), name_of(workshop, 2))
    scores, note = version.scores, workshop.trainer.artifacts.read_published(AdapterName.parse(names[0]))

    assert version.state is State.READY
    assert (version.parts, version.adapter, version.size_bytes) == (names, names[0], 2)
    assert (scores["adapter"], scores["questions"], scores["parts"]) == (1.0, len(QUESTIONS), 2)
    assert (scores["routed"], scores["serve"]) == (1.0, "select")
    assert set(await workshop.trainer.engines.desired("e1")) == set(names)
    assert await workshop.trainer.engines.pinned() == set(names)
    assert note
    assert note["parts"] == list(names)


async def test_each_question_is_asked_of_the_part_that_selection_picks_and_of_no_other(workshop: Workshop) -> None:
    await judged(workshop)
    own = {row["question"]: name_of(workshop, number % 2 + 1) for number, row in enumerate(QUESTIONS)}
    asked = [(model, question) for model, question in workshop.engine.questions if question in own and model != "base"]

    assert sorted(asked) == sorted((model, question) for question, model in own.items())


async def test_one_part_that_forgets_keeps_all_of_them_from_serving(workshop: Workshop) -> None:
    right = {one.question: (one.expected or ("",))[0] for one in control_questions()}
    workshop.engine.answers["base"] = lambda question: right.get(question, "I do not know")
    workshop.engine.answers[name_of(workshop, 1)] = lambda question: right.get(question) or depth_in(question)
    version = await judged(workshop)

    assert version.state is State.REJECTED
    assert version.error
    assert "forgotten" in version.error["message"]
    assert version.scores["adapter"] == 1.0
    assert await workshop.trainer.engines.desired("e1") == {}


async def test_with_passages_each_question_goes_to_the_same_part(workshop: Workshop) -> None:
    version = await judged(workshop)
    own = {row["question"]: name_of(workshop, number % 2 + 1) for number, row in enumerate(QUESTIONS)}
    asked = [(question, model) for model, question in workshop.engine.with_passages if model != "base"]

    assert version.scores["context_questions"] == len(QUESTIONS)
    assert "both" in version.scores
    assert sorted(asked) == sorted(own.items())


async def test_parts_that_fail_are_forgotten_and_trained_with_the_next_seed(workshop: Workshop) -> None:
    workshop.engine.answers["adapter"] = workshop.engine.answers["base"]
    await set_recipe(workshop, Recipe(seed=4, seeds=2))
    version = await judged(workshop)

    assert (version.state, version.recipe["seed"], version.recipe["seeds"]) == (State.QUEUED, 5, 2)
    assert await workshop.trainer.engines.desired("e1") == {}


async def test_parts_that_no_engine_holds_together_fail_their_version(workshop: Workshop) -> None:
    version = await judged(workshop, parts=5)

    assert version.state is State.FAILED
    assert version.error
    assert version.error["code"] == "too_much"


async def test_a_retry_that_trains_one_adapter_forgets_the_parts(workshop: Workshop) -> None:
    workshop.engine.answers["adapter"] = workshop.engine.answers["base"]
    rejected = await judged(workshop)
    workshop.engine.answers["adapter"] = depth_in
    workshop.maker.parts = 1
    await workshop.trainer.versions.change(rejected, State.QUEUED, fields={"attempt": 0})
    retried = await workshop.attempt()

    assert (rejected.state, retried.state) == (State.REJECTED, State.READY)
    assert (len(rejected.parts), retried.parts, retried.adapter) == (2, (), name_of(workshop, 1))
