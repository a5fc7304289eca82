"""Composites: built once, proven, kept, found again, and gone with any of their members."""

import asyncio
import json
import math
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.composition import Composition
from app.core.names import AdapterName
from app.errors import (
    AdapterBusy,
    AdapterRejected,
    CompositeRejected,
    ModelNotFound,
    NotFound,
    SlotsFull,
)
from app.stores.artifacts import ArtifactStore
from tests.engine.fakes import BASE_DIGEST, OFF, FakeEngine, change_json, write_adapter
from workers.engine.adapters import AdapterSet, Patience
from workers.engine.checks import MANIFEST, WEIGHTS, Checked, Limits
from workers.engine.compose import Composites
from workers.engine.composer import Composer
from workers.engine.probes import Probe, Prover

TEXT = (7, 7)
LOST, BROKEN = -9.0, -30.0


class World:
    """One engine with four slots, three members in its store."""

    def __init__(self, root: Path, *, most_bytes: int = 2**30, engine_id: str = "here") -> None:
        self.root, self.engine = root, FakeEngine()
        self.store = ArtifactStore((root / "artifacts").as_uri(), root / "cache")
        limits = Limits(max_rank=8, max_model_len=64, base_digest=BASE_DIGEST)
        self.composites = Composites(
            root / "composites", self.store, limits, engine_id=engine_id, most_bytes=most_bytes, probes=canary_of
        )
        patience = Patience(drain=timedelta(milliseconds=20), canary=timedelta(minutes=2))
        self.adapters = AdapterSet(self.engine, self.composites, limits, capacity=4, patience=patience)
        text = Probe(TEXT, (8,))
        self.composer = Composer(self.adapters, self.composites, self.store, Prover(self.engine), lambda: (text,))

    def members(self, *numbers: int) -> list[AdapterName]:
        return [write_adapter(self.root / "artifacts", number) for number in numbers]

    def composition(self, *numbers: int, method: str = "cat") -> Composition:
        return Composition.of(method, self.members(*numbers))

    def folder(self, composition: Composition) -> Path:
        return self.root / "composites" / "here" / composition.name.folder

    def files(self) -> set[str]:
        """Every file of a composite."""
        found = (self.root / "composites").rglob("*")
        return {str(path) for path in found if path.is_file() and path.suffix != ".lock"}


def canary_of(member: Checked) -> tuple[Probe, ...]:
    return (Probe(member.canary.prompt_ids, member.canary.answer_ids),)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_composite_answers_by_the_name_that_its_recipe_gives_it(world: World) -> None:
    composition = world.composition(1, 2)
    composed = await world.composer.compose(composition)

    assert composed.loaded.cold
    assert set(world.engine.served) == {str(composition.name)}
    assert composed.facts == {
        "weights": [1.0, 1.0],
        "rank": 8,
        "compression_error": 0.0,
        "proof": {"members": [-2.5, -2.5], "text": -2.5},
    }


async def test_it_is_built_once_however_many_ask(world: World) -> None:
    composition = world.composition(1, 2)
    made = await asyncio.gather(*[world.composer.compose(composition) for _ in range(5)])

    assert sorted(one.loaded.cold for one in made) == [False] * 4 + [True]
    assert world.engine.seen_ids == [1]


async def test_nobody_can_ask_for_it_before_it_is_proven(world: World) -> None:
    composition = world.composition(1, 2)
    world.engine.scoring.clear()
    composing = asyncio.create_task(world.composer.compose(composition))
    await world.engine.added.wait()

    assert world.engine.served == {}
    world.engine.scoring.set()
    await composing


async def test_ranks_that_add_up_beyond_the_engines_are_compressed(world: World) -> None:
    composed = await world.composer.compose(world.composition(1, 2, 3))

    assert composed.facts["rank"] == 8


@pytest.mark.parametrize(
    ("prompt", "value", "says"),
    [((1, 3), LOST, "-2.50, 6.00 by member"), (TEXT, BROKEN, "27.00 in plain text"), ((1, 3), math.nan, "nan")],
)
async def test_one_that_broke_is_refused_with_the_figures_and_leaves_nothing(
    world: World, prompt: tuple[int, ...], value: float, says: str
) -> None:
    world.engine.by_prompt[prompt] = value
    composition = world.composition(1, 2)
    for _ in range(2):
        with pytest.raises(CompositeRejected, match=says):
            await world.composer.compose(composition)

    assert world.engine.is_empty()
    assert world.files() == set()
    assert world.engine.seen_ids == [1]  # what broke is not built to break again


async def test_one_that_answers_like_the_base_is_refused(world: World) -> None:
    world.engine.scores = OFF
    with pytest.raises(CompositeRejected, match="hardly differs"):
        await world.composer.compose(world.composition(1, 2))


async def test_plain_text_may_be_as_bad_as_the_worst_members(world: World) -> None:
    composition = world.composition(1, 2)
    world.store.mark_published(composition.members[1], {"control": {"perplexity_rise": 1.0}})
    world.engine.by_prompt[TEXT] = OFF[0] - 1.4
    composed = await world.composer.compose(composition)

    assert composed.facts["proof"]["text"] == 1.4


async def test_what_was_unloaded_comes_back_from_its_files(world: World) -> None:
    composition = world.composition(1, 2)
    await world.composer.compose(composition)
    manifest = (world.folder(composition) / MANIFEST).read_bytes()
    await world.adapters.remove(str(composition.name))
    again = await world.composer.compose(composition)

    assert again.loaded.cold
    assert (world.folder(composition) / MANIFEST).read_bytes() == manifest


async def test_an_engine_that_restarted_loads_it_by_its_name_alone(world: World, tmp_path: Path) -> None:
    composition = world.composition(1, 2)
    await world.composer.compose(composition)
    after = World(tmp_path)
    await after.adapters.load(str(composition.name))

    assert set(after.engine.served) == {str(composition.name)}


async def test_one_that_was_never_built_is_not_found_by_its_name(world: World) -> None:
    with pytest.raises(NotFound):
        await world.adapters.load(str(world.composition(1, 2).name))


@pytest.mark.parametrize("harm", ["weights", "canary", "recipe"])
async def test_kept_files_that_are_not_what_they_were_are_built_anew(world: World, harm: str) -> None:
    composition = world.composition(1, 2)
    await world.composer.compose(composition)
    await world.adapters.remove(str(composition.name))
    folder = world.folder(composition)
    manifest = json.loads((folder / MANIFEST).read_text())
    if harm == "weights":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1] + b"\1")
    if harm == "canary":
        change_json(folder / MANIFEST, canary={**manifest["canary"], "adapter_logprobs": [-7.0, -7.0]})
    if harm == "recipe":
        change_json(folder / MANIFEST, composition={**manifest["composition"], "weights": [1.0, 2.0]})
    await world.composer.compose(composition)

    now = json.loads((folder / MANIFEST).read_text())
    assert (now["digest"], now["canary"]) == (manifest["digest"], manifest["canary"])
    assert set(world.engine.served) == {str(composition.name)}


async def test_one_whose_files_were_cleared_away_while_it_was_loaded_is_built_anew(world: World) -> None:
    composition = world.composition(1, 2)
    await world.composer.compose(composition)
    shutil.rmtree(world.root / "composites" / "here")
    composed = await world.composer.compose(composition)

    assert composed.facts["rank"] == 8
    assert set(world.engine.served) == {str(composition.name)}


async def test_a_member_that_is_not_there_is_not_found(world: World) -> None:
    composition = world.composition(1, 2)
    shutil.rmtree(world.root / "artifacts" / composition.members[0].folder)
    with pytest.raises(ModelNotFound):
        await world.composer.compose(composition)

    assert world.engine.is_empty()


@pytest.mark.parametrize("change", [{"base": {"digest": "c" * 64}}, {"tenant": "other"}])
async def test_a_member_that_is_not_fit_to_load_is_rejected(world: World, change: dict[str, object]) -> None:
    composition = world.composition(1, 2)
    change_json(world.root / "artifacts" / composition.members[0].folder / MANIFEST, **change)
    with pytest.raises(AdapterRejected):
        await world.composer.compose(composition)


@pytest.mark.parametrize("change", [{"rank_pattern": {"up_proj": 2}}, {"alpha_pattern": {"up_proj": 2}}])
async def test_a_member_whose_scaling_is_not_alpha_over_rank_is_rejected(
    world: World, change: dict[str, object]
) -> None:
    composition = world.composition(1, 2)
    change_json(world.root / "artifacts" / composition.members[0].folder / "adapter_config.json", **change)
    with pytest.raises(AdapterRejected):
        await world.composer.compose(composition)


async def test_one_that_vllm_cannot_load_is_rejected_and_no_file_is_loadable(world: World) -> None:
    composition = world.composition(1, 2)
    world.engine.broken = True
    with pytest.raises(AdapterRejected, match="shapes"):
        await world.composer.compose(composition)
    world.engine.broken = False
    with pytest.raises(NotFound):
        await world.adapters.load(str(composition.name))
    await world.composer.sweep()

    assert world.files() == set()


async def test_a_composite_takes_a_slot_as_any_adapter(world: World) -> None:
    for number in range(11, 15):
        name = str(world.members(number)[0])
        await world.adapters.load(name)
        world.adapters.pin(name, True)

    with pytest.raises(SlotsFull):
        await world.composer.compose(world.composition(1, 2))


async def test_composites_above_the_budget_go_but_never_one_that_is_loaded(tmp_path: Path) -> None:
    world = World(tmp_path, most_bytes=1)
    first, second = world.composition(1, 2), world.composition(3, 4)
    await world.composer.compose(first)
    await world.composer.compose(second)
    both = world.folder(first).exists() and world.folder(second).exists()
    await world.adapters.remove(str(first.name))
    await world.composer.compose(world.composition(5, 6))

    assert both
    assert not world.folder(first).exists()
    assert world.folder(second).exists()


async def test_the_least_recently_used_composite_goes_first(tmp_path: Path) -> None:
    one = World(tmp_path)
    first, second = one.composition(1, 2), one.composition(3, 4)
    for at, composition in enumerate((first, second)):
        await one.composer.compose(composition)
        await one.adapters.remove(str(composition.name))
        os.utime(one.folder(composition) / MANIFEST, (at, at))
    size = (one.folder(first) / WEIGHTS).stat().st_size
    await World(tmp_path, most_bytes=2 * size).composer.compose(one.composition(5, 6))

    assert not one.folder(first).exists()
    assert one.folder(second).exists()


async def test_erasing_a_memory_lets_go_of_every_composite_made_of_it_and_of_no_other(world: World) -> None:
    one, two, three = world.members(1, 2, 3)
    of_it = [Composition.of("cat", [one, two]), Composition.of("ties", [one, three])]
    other = Composition.of("cat", [two, three])
    for composition in (*of_it, other):
        await world.composer.compose(composition)
    await world.adapters.remove(str(of_it[1].name))  # one is loaded, one is only on the disk
    found = await world.composer.purge(one.tenant, one.owner, files=False)
    unloaded, kept = set(world.engine.served), world.files()
    await world.composer.purge(one.tenant, one.owner, files=True)

    assert found == sorted(str(composition.name) for composition in of_it)
    assert unloaded == {str(other.name)}
    assert kept > world.files()
    assert not [file for file in world.files() if any(one.name.owner in file for one in of_it)]
    assert world.folder(other).exists()
    assert not [path for path in (world.root / "composites").rglob(MANIFEST) if one.owner in path.read_text()]


async def test_a_composite_that_is_being_built_while_its_member_is_erased_does_not_stay(world: World) -> None:
    composition = world.composition(1, 2)
    member = composition.members[0]
    world.engine.scoring.clear()
    composing = asyncio.create_task(world.composer.compose(composition))
    await world.engine.added.wait()
    purging = asyncio.create_task(world.composer.purge(member.tenant, member.owner, files=True))
    await asyncio.sleep(0)
    world.engine.scoring.set()
    await asyncio.gather(composing, purging, return_exceptions=True)

    assert world.engine.is_empty()
    assert world.files() == set()


async def test_a_composite_of_an_erased_memory_is_not_built_again_from_files_that_are_still_there(world: World) -> None:
    composition = world.composition(1, 2)
    member = composition.members[0]
    await world.composer.purge(member.tenant, member.owner, files=True)
    with pytest.raises(ModelNotFound, match="erased"):
        await world.composer.compose(composition)

    assert world.engine.is_empty()


async def test_a_composite_in_use_is_not_erased_under_its_requests(world: World) -> None:
    composition = world.composition(1, 2)
    await world.composer.compose(composition)
    member = composition.members[0]
    with world.adapters.request(str(composition.name)), pytest.raises(AdapterBusy):
        await world.composer.purge(member.tenant, member.owner, files=True)

    assert world.folder(composition).exists()


async def test_what_an_erasure_did_not_reach_goes_by_itself(world: World) -> None:
    one, two, three = world.members(1, 2, 3)
    gone, stays = Composition.of("cat", [one, two]), Composition.of("cat", [two, three])
    await world.composer.compose(gone)
    await world.composer.compose(stays)
    shutil.rmtree(world.root / "artifacts" / one.folder)
    await world.composer.sweep()
    served = set(world.engine.served)
    await world.composer.sweep()

    assert served == {str(stays.name)}
    assert not world.folder(gone).exists()
    assert world.folder(stays).exists()


async def test_an_engine_drops_copies_of_what_was_erased_while_it_was_away(world: World) -> None:
    one, two = world.members(1, 2)
    gone, stays = [world.store.cache_path(member, "copy").parent for member in (one, two)]
    for copy in (gone, stays):
        copy.mkdir(parents=True)
    shutil.rmtree((world.root / "artifacts" / one.folder).parent)
    await world.composer.sweep()

    assert not gone.exists()
    assert stays.exists()


async def test_a_half_built_composite_is_swept_and_one_in_the_making_is_not(world: World) -> None:
    left = world.composition(3, 4)
    world.folder(left).mkdir(parents=True)
    (world.folder(left) / WEIGHTS).write_bytes(b"half")
    composition = world.composition(1, 2)
    world.engine.scoring.clear()
    composing = asyncio.create_task(world.composer.compose(composition))
    await world.engine.added.wait()
    await world.composer.sweep()
    world.engine.scoring.set()
    await composing

    assert not world.folder(left).exists()
    assert set(world.engine.served) == {str(composition.name)}


async def test_learned_weights_leave_their_trials_behind(world: World) -> None:
    learned = Composition.of("cat", world.members(1, 2), weights="learned")
    composed = await world.composer.compose(learned)

    assert composed.facts["weights"] == [1.0, 1.0]  # the fake engine finds none better
    assert set(world.engine.served) == {str(learned.name)}
    assert [path.parent.parent.name for path in (world.root / "composites").rglob(MANIFEST)] == [learned.name.owner]


async def test_an_engine_that_ended_leaves_no_composite_behind(world: World, tmp_path: Path) -> None:
    ended, alive = World(tmp_path, engine_id="ended"), World(tmp_path, engine_id="alive")
    composition = world.composition(1, 2)
    kept = alive.composites.claim()
    for each in (ended, alive, world):
        await each.composer.compose(composition)
    await world.composer.sweep()
    kept.release()

    assert {path.parts[-6] for path in (tmp_path / "composites").rglob(MANIFEST)} == {"alive", "here"}
