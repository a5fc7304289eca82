import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.names import AdapterName
from app.errors import AdapterBusy, AdapterRejected, EngineFailed, InvalidName, ModelNotFound, NotFound, SlotsFull
from app.stores.artifacts import ArtifactStore
from tests.engine.fakes import BASE_DIGEST, OFF, FakeEngine, change_json, write_adapter
from workers.engine.adapters import AdapterSet, Patience
from workers.engine.checks import Limits


class World:
    """One set of adapters with two slots, a fake engine and a clock that counts its readings."""

    def __init__(self, root: Path, canary: timedelta = timedelta(seconds=5)) -> None:
        self.root = root
        self.engine = FakeEngine()
        self.now = 0.0
        self.adapters = AdapterSet(
            self.engine,
            ArtifactStore(root.as_uri(), root / "cache"),
            Limits(max_rank=8, max_model_len=64, base_digest=BASE_DIGEST),
            capacity=2,
            patience=Patience(drain=timedelta(milliseconds=20), canary=canary),
            clock=self.tick,
        )

    def tick(self) -> float:
        self.now += 1
        return self.now

    def write(self, number: int) -> str:
        return str(write_adapter(self.root, number))

    def folder(self, name: str) -> Path:
        return self.root / AdapterName.parse(name).folder


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_loaded_adapter_is_served_by_its_name(world: World) -> None:
    name = world.write(1)
    loaded = await world.adapters.load(name)

    assert loaded.cold
    assert world.engine.served == {name: 1}


async def test_loading_again_does_nothing(world: World) -> None:
    name = world.write(1)
    await world.adapters.load(name)
    again = await world.adapters.load(name)

    assert not again.cold
    assert world.engine.seen_ids == [1]


async def test_two_loads_at_once_are_one(world: World) -> None:
    name = world.write(1)
    loads = await asyncio.gather(world.adapters.load(name), world.adapters.load(name))

    assert sorted(load.cold for load in loads) == [False, True]


async def test_an_id_is_never_given_twice(world: World) -> None:
    name = world.write(1)
    for _ in range(3):
        await world.adapters.load(name)
        await world.adapters.remove(name)

    assert world.engine.seen_ids == [1, 2, 3]


async def test_an_adapter_is_not_served_before_its_canary_passed(world: World) -> None:
    name = world.write(1)
    world.engine.scoring.clear()
    load = asyncio.create_task(world.adapters.load(name))
    await world.engine.added.wait()

    assert world.engine.served == {}
    with pytest.raises(ModelNotFound), world.adapters.request(name):
        pass
    world.engine.scoring.set()
    await load


async def test_an_adapter_that_answers_like_the_base_is_rejected_and_leaves_nothing(world: World) -> None:
    name = world.write(1)
    world.engine.scores = OFF
    with pytest.raises(AdapterRejected, match="canary"):
        await world.adapters.load(name)

    assert world.engine.is_empty()


async def test_an_adapter_that_vllm_refuses_leaves_nothing(world: World) -> None:
    name = world.write(1)
    world.engine.broken = True
    with pytest.raises(AdapterRejected, match="shapes"):
        await world.adapters.load(name)

    assert world.engine.is_empty()


async def test_a_canary_that_is_never_scored_does_not_hang(tmp_path: Path) -> None:
    world = World(tmp_path, canary=timedelta(milliseconds=10))
    name = world.write(1)
    world.engine.scoring.clear()
    with pytest.raises(EngineFailed):
        await world.adapters.load(name)

    assert world.engine.held_by_id == {}


async def test_a_failed_load_gives_its_slot_back(world: World) -> None:
    bad, *good = (world.write(number) for number in (1, 2, 3))
    world.engine.broken = True
    with pytest.raises(AdapterRejected):
        await world.adapters.load(bad)
    world.engine.broken = False
    for name in good:
        await world.adapters.load(name)

    assert set(world.engine.served) == set(good)


async def test_the_least_recently_used_adapter_makes_room(world: World) -> None:
    first, second, third = (world.write(number) for number in (1, 2, 3))
    await world.adapters.load(first)
    await world.adapters.load(second)
    with world.adapters.request(first):
        pass
    await world.adapters.load(third)

    assert set(world.engine.served) == set(world.engine.held_by_id.values()) == {first, third}


async def test_neither_a_busy_nor_a_pinned_adapter_makes_room(world: World) -> None:
    first, second, third = (world.write(number) for number in (1, 2, 3))
    await world.adapters.load(first)
    await world.adapters.load(second)
    world.adapters.pin(first, True)
    with world.adapters.request(second), pytest.raises(SlotsFull):
        await world.adapters.load(third)
    await world.adapters.load(third)

    assert set(world.engine.served) == {first, third}


async def test_loads_at_once_never_take_more_slots_than_there_are(world: World) -> None:
    names = [world.write(number) for number in range(1, 4)]
    world.engine.scoring.clear()
    loads = [asyncio.create_task(world.adapters.load(name)) for name in names]
    done, _ = await asyncio.wait(loads, return_when=asyncio.FIRST_COMPLETED)
    world.engine.scoring.set()
    await asyncio.gather(*loads, return_exceptions=True)

    assert isinstance(done.pop().exception(), SlotsFull)
    assert len(world.engine.held_by_id) == 2


async def test_a_removed_adapter_leaves_the_engine_too(world: World) -> None:
    name = world.write(1)
    await world.adapters.load(name)

    assert await world.adapters.remove(name)
    assert not await world.adapters.remove(name)
    assert world.engine.is_empty()


async def test_a_removal_waits_for_requests_and_lets_no_new_one_in(world: World) -> None:
    name = world.write(1)
    await world.adapters.load(name)
    with world.adapters.request(name):
        removal = asyncio.create_task(world.adapters.remove(name))
        await asyncio.sleep(0)
        with pytest.raises(ModelNotFound), world.adapters.request(name):
            pass
        assert world.engine.held_by_id
        assert world.engine.served == {name: 1}, "a counted request may not have looked its adapter up yet"

    assert await removal
    assert world.engine.held_by_id == {}


async def test_an_adapter_whose_requests_do_not_end_stays(world: World) -> None:
    name = world.write(1)
    await world.adapters.load(name)
    with world.adapters.request(name), pytest.raises(AdapterBusy):
        await world.adapters.remove(name)

    with world.adapters.request(name):
        pass
    assert await world.adapters.remove(name)


async def test_a_request_is_counted_once_and_released_however_it_ends(world: World) -> None:
    name = world.write(1)
    await world.adapters.load(name)
    with world.adapters.request(name):
        residency, _ = await world.adapters.listing()
        assert residency[name].active == 1
    with pytest.raises(RuntimeError), world.adapters.request(name):
        raise RuntimeError
    residency, _ = await world.adapters.listing()

    assert residency[name].active == 0


async def test_what_vllm_dropped_by_itself_is_not_listed_and_is_loaded_anew(world: World) -> None:
    name = world.write(1)
    await world.adapters.load(name)
    world.engine.held_by_id.clear()

    assert await world.adapters.listing() == ({}, frozenset())
    assert world.engine.served == {}
    assert (await world.adapters.load(name)).cold
    world.engine.held_by_id.clear()
    assert (await world.adapters.load(name)).cold


async def test_weights_that_nobody_knows_are_removed(world: World) -> None:
    world.engine.held_by_id[99] = "left over"
    await world.adapters.listing()

    assert world.engine.held_by_id == {}


async def test_vllm_is_asked_for_its_list_at_most_twice_a_minute(world: World) -> None:
    await world.adapters.listing()
    world.engine.held_by_id[99] = "left over"
    await world.adapters.listing()
    assert world.engine.held_by_id == {99: "left over"}

    world.now += 30
    await world.adapters.listing()
    assert world.engine.held_by_id == {}


async def test_pins_are_listed_and_taken_back(world: World) -> None:
    name = world.write(1)
    await world.adapters.load(name)
    world.adapters.pin(name, True)
    _, pinned = await world.adapters.listing()
    world.adapters.pin(name, False)
    _, unpinned = await world.adapters.listing()

    assert (set(pinned), set(unpinned)) == ({name}, set())
    with pytest.raises(ModelNotFound):
        world.adapters.pin("default.other", True)


@pytest.mark.parametrize("name", ["../x", "base", "", "default.mem_1.v1.0", "x" * 300, "a\0b"])
async def test_a_name_that_the_server_did_not_mint_is_refused(world: World, name: str) -> None:
    with pytest.raises(InvalidName):
        await world.adapters.load(name)
    with pytest.raises(InvalidName):
        await world.adapters.remove(name)


async def test_an_adapter_that_is_not_in_the_store_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.adapters.load(f"default.mem_{1:026d}.v1.{'0' * 12}")


async def test_an_adapter_whose_files_are_unfit_never_reaches_the_engine(world: World) -> None:
    name = world.write(1)
    change_json(world.folder(name) / "adapter_config.json", use_dora=True)
    with pytest.raises(AdapterRejected):
        await world.adapters.load(name)

    assert world.engine.seen_ids == []
