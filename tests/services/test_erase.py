"""Deletion survives anything, leaves nothing and says what it did."""

import asyncio
import dataclasses
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from app.api.gateway import open_gateway
from app.core.composition import Composition
from app.core.memory import Memory
from app.core.names import AdapterName
from app.errors import AdapterBusy, EngineFailed, NotFound
from app.services.erase import Eraser, Places
from app.services.remember import to_record
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.erasures import Debt
from app.stores.redis import Registry
from tests.api.conftest import World, http, settings, world, write_version
from tests.api.test_guards import ready_guard
from tests.factories import a_memory, a_version
from tests.services.test_rebuild import lose_and_rebuild, rebuilder

__all__ = ["http", "settings", "world"]  # the API's fixtures serve here too
pytestmark = pytest.mark.redis


class Killed(BaseException):
    """The process dies here."""


class Fragile:
    """A store whose n-th call, of all that share the fuse, kills the process before or after it is done."""

    def __init__(self, inner: Any, fuse: "Fuse") -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not callable(method):
            return method

        async def call(*args: Any, **options: Any) -> Any:
            self._fuse.burn()
            result = await method(*args, **options)
            self._fuse.burn()
            return result

        def call_blocking(*args: Any, **options: Any) -> Any:
            self._fuse.burn()
            result = method(*args, **options)
            self._fuse.burn()
            return result

        return call_blocking if type(self._inner).__name__ == "ArtifactStore" else call


class Fuse:
    """Counts steps down to a death."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def burn(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


def places(world: World) -> Places:
    gateway = world.gateway
    return dataclasses.replace(gateway.eraser._at)


async def no_pause(_: float) -> None:
    return None


def eraser(at: Places, pause: Callable[[float], Awaitable[None]] = no_pause) -> Eraser:
    return Eraser(at, grace_s=0, pause=pause)


async def buried(world: World) -> tuple[Debt, str, int]:
    """Bury a memory that two engines hold; return its debt, its adapter and how many files it had."""
    ada = await world.ready("ada")
    world.gateway.artifacts.write_document("acme", ada.memory.id, "d" * 64, b"Ada.", {})
    world.gateway.artifacts.write_memory("acme", ada.memory.id, {})
    files = world.gateway.artifacts.measure_memory("acme", ada.memory.id)[0]
    await world.report(holding=(ada.adapter,))
    await eraser(places(world)).bury(ada.memory, world.gateway.rememberer)
    return Debt("acme", ada.memory.id), ada.adapter, files


@pytest.fixture
async def quiet(world: World) -> World:
    """A gateway whose own eraser does nothing, so that the test's is alone."""
    world.gateway.eraser.__dict__["_try"] = _nothing
    return world


async def _nothing(_: Debt) -> None:
    return None


async def test_a_buried_memory_is_gone_at_once_and_its_receipt_says_erasing(
    quiet: World, http: httpx.AsyncClient
) -> None:
    debt, _, _ = await buried(quiet)
    receipt = (await http.get(f"/v1/memories/{debt.memory_id}/receipt")).json()

    assert (await http.get(f"/v1/memories/{debt.memory_id}")).status_code == 404
    assert (receipt["status"], receipt["erased_at"]) == ("erasing", None)


async def test_erasing_unloads_everywhere_and_leaves_a_receipt_and_nothing_else(
    quiet: World, http: httpx.AsyncClient
) -> None:
    before = await quiet.traces()
    debt, adapter, files = await buried(quiet)
    await eraser(places(quiet)).settle(debt)
    receipt = (await http.get(f"/v1/memories/{debt.memory_id}/receipt")).json()
    keys, left = await quiet.traces()

    assert [engine.removed for engine in quiet.engines] == [[adapter], [adapter]]
    assert (receipt["status"], receipt["files"], receipt["versions"]) == ("erased", files, 1)
    assert (receipt["adapters"], receipt["engines"]) == ([adapter], ["one", "two"])
    assert receipt["erased_at"] >= receipt["deleted_at"]
    assert left == before[1]
    assert [key for key in keys if debt.memory_id in key] == [f"lk:t:acme:tombstone:{debt.memory_id}"]


async def test_a_version_added_since_the_memory_was_read_is_erased_and_counted(
    quiet: World, http: httpx.AsyncClient
) -> None:
    ada = (await quiet.ready("ada")).memory
    await quiet.gateway.versions.add(ada, a_version(ada, number=2), content="of both")
    one = eraser(places(quiet))
    await one.bury(ada, quiet.gateway.rememberer)
    await one.settle(Debt("acme", ada.id))
    receipt = (await http.get(f"/v1/memories/{ada.id}/receipt")).json()
    keys, _ = await quiet.traces()

    assert (receipt["status"], receipt["versions"]) == ("erased", 2)
    assert [key for key in keys if ada.id in key] == [f"lk:t:acme:tombstone:{ada.id}"]


async def test_a_language_guard_is_erased_as_a_memory_is(quiet: World, http: httpx.AsyncClient) -> None:
    guard = await ready_guard(quiet)
    adapter = str(AdapterName("acme", guard.id, 1, "a" * 12))
    await quiet.report(holding=(adapter,))
    deleted = await http.delete(f"/v1/languages/{guard.id}")
    await eraser(places(quiet)).settle(Debt("acme", guard.id))
    receipt = (await http.get(f"/v1/memories/{guard.id}/receipt")).json()

    assert deleted.status_code == 202
    assert (receipt["status"], receipt["adapters"], receipt["engines"]) == ("erased", [adapter], ["one", "two"])
    assert not list(quiet.settings.home.rglob(f"*{guard.id}*"))


async def test_every_part_is_unloaded_and_erased_even_one_whose_files_are_lost(
    quiet: World, http: httpx.AsyncClient
) -> None:
    version = await quiet.ready_in_parts("ada", [("Ada.",), ("Bob.",)])
    memory = await quiet.gateway.memories.get("acme", version.memory_id)
    await quiet.report(quiet.engines[0], holding=version.parts)
    shutil.rmtree(quiet.settings.home / "artifacts" / AdapterName.parse(version.parts[1]).folder)
    await eraser(places(quiet)).bury(memory, quiet.gateway.rememberer)
    await eraser(places(quiet)).settle(Debt("acme", memory.id))
    receipt = (await http.get(f"/v1/memories/{memory.id}/receipt")).json()

    assert sorted(quiet.engines[0].removed) == sorted(version.parts)
    assert receipt["adapters"] == sorted(version.parts)
    assert not list(quiet.settings.home.rglob(f"*{memory.id}*"))


@pytest.mark.parametrize("steps", range(0, 46, 2))
async def test_an_eraser_that_is_killed_at_any_step_finishes_at_the_next_start(
    quiet: World, http: httpx.AsyncClient, steps: int
) -> None:
    debt, adapter, files = await buried(quiet)
    fuse = Fuse(steps)
    whole = places(quiet)
    parts: dict[str, Any] = {name: Fragile(getattr(whole, name), fuse) for name in vars(whole)}
    fragile = Places(**parts)
    died = False
    try:
        await eraser(fragile).settle(debt)
    except Killed:
        died = True
    owed = await whole.erasures.owed()
    for one in owed:
        await eraser(whole).settle(one)
    receipt = (await http.get(f"/v1/memories/{debt.memory_id}/receipt")).json()

    assert died or not owed
    assert (receipt["status"], receipt["files"], receipt["adapters"]) == ("erased", files, [adapter])
    assert await whole.erasures.owed() == []
    assert not list(quiet.settings.home.rglob(f"*{debt.memory_id}*"))


@pytest.fixture
async def refuse(redis: Registry) -> AsyncIterator[Callable[[bool], Awaitable[None]]]:
    """What makes the registry refuse writes, as a full disk does, and take them again."""

    async def change(refused: bool) -> None:
        await redis.config_set("min-replicas-to-write", int(refused))

    yield change
    await change(False)


async def test_a_deletion_that_the_registry_refuses_leaves_the_memory_and_what_restores_it(
    world: World, http: httpx.AsyncClient, refuse: Callable[[bool], Awaitable[None]]
) -> None:
    memory_id = (await http.post("/v1/memories", files=[("file", ("a.md", "Ada."))])).json()["id"]
    await http.post(f"/v1/memories/{memory_id}/cancel")
    before = world.gateway.artifacts.read_memory("acme", memory_id)
    await refuse(True)
    deleted = await http.delete(f"/v1/memories/{memory_id}")
    await refuse(False)
    after = world.gateway.artifacts.read_memory("acme", memory_id)
    await http.patch(f"/v1/memories/{memory_id}", json={"name": "eve"})
    done = await lose_and_rebuild(world)

    assert (deleted.status_code, deleted.json()["error"]["code"]) == (503, "registry_unavailable")
    assert after == before
    assert done["cancelled"] == 1
    assert (await world.gateway.memories.get("acme", memory_id)).name == "eve"


async def test_a_deletion_that_was_answered_holds_though_the_registry_is_lost_before_it_is_done(
    quiet: World, http: httpx.AsyncClient
) -> None:
    memory_id = (await http.post("/v1/memories", files=[("file", ("a.md", "Ada."))])).json()["id"]
    deleted = await http.delete(f"/v1/memories/{memory_id}")
    done = await lose_and_rebuild(quiet)

    assert (deleted.status_code, done["erased"]) == (202, 1)
    assert not list(quiet.settings.home.rglob(f"*{memory_id}*"))


async def recorded(world: World) -> Memory:
    """Make a memory that serves, with the record that restores it."""
    memory = (await world.ready("ada")).memory
    world.gateway.artifacts.write_memory("acme", memory.id, to_record(memory, a_version(memory)))
    return memory


async def test_a_gateway_killed_before_it_marked_what_it_buried_leaves_that_to_the_next(quiet: World) -> None:
    class Deadly(ArtifactStore):
        def write_memory(self, tenant: str, memory_id: str, record: dict[str, Any]) -> None:
            raise Killed

    ada = await recorded(quiet)
    whole = places(quiet)
    at = dataclasses.replace(whole, artifacts=Deadly.open(quiet.settings))
    with pytest.raises(Killed):
        await eraser(at).bury(ada, quiet.gateway.rememberer)
    done = await rebuilder(quiet).run()
    restored = await quiet.gateway.memories.page("acme", limit=1)
    for debt in await whole.erasures.owed():
        await eraser(whole).settle(debt)

    assert (done["already_there"], done["ready"]) == (1, 0)
    assert restored == ([], False)
    assert not list(quiet.settings.home.rglob(f"*{ada.id}*"))


async def test_what_is_erased_in_part_is_not_restored(quiet: World) -> None:
    class Deadly(ArtifactStore):
        def erase_memory(self, tenant: str, memory_id: str) -> tuple[int, int]:
            raise Killed

    ada = await recorded(quiet)
    await quiet.gateway.memories.bury(ada, {"deleted_at": 1.0, "trained_until": 0.0, "adapters": [], "versions": 1})
    at = dataclasses.replace(places(quiet), artifacts=Deadly.open(quiet.settings))
    with pytest.raises(Killed):
        await eraser(at).settle(Debt("acme", ada.id))
    done = await lose_and_rebuild(quiet)

    assert done["erased"] == 1


async def test_a_mark_that_comes_after_the_erasure_does_not_stay(quiet: World) -> None:
    loop = asyncio.get_running_loop()
    ada = await recorded(quiet)
    whole = places(quiet)

    class Slow(ArtifactStore):
        def write_memory(self, tenant: str, memory_id: str, record: dict[str, Any]) -> None:
            done = eraser(whole).settle(Debt(tenant, memory_id))  # another gateway's
            asyncio.run_coroutine_threadsafe(done, loop).result()
            super().write_memory(tenant, memory_id, record)

    at = dataclasses.replace(whole, artifacts=Slow.open(quiet.settings))
    await eraser(at).bury(ada, quiet.gateway.rememberer)

    assert await whole.erasures.owed() == []
    assert not list(quiet.settings.home.rglob(f"*{ada.id}*"))


async def test_erasing_twice_does_no_harm(quiet: World, http: httpx.AsyncClient) -> None:
    debt, _, files = await buried(quiet)
    await eraser(places(quiet)).settle(debt)
    await eraser(places(quiet)).settle(debt)

    assert (await http.get(f"/v1/memories/{debt.memory_id}/receipt")).json()["files"] == files


async def test_what_another_gateway_erased_meanwhile_stays_in_the_receipt(
    quiet: World, http: httpx.AsyncClient
) -> None:
    debt, adapter, files = await buried(quiet)
    others = eraser(places(quiet))

    async def other_is_faster(_: float) -> None:
        await others.settle(debt)

    await eraser(places(quiet), other_is_faster).settle(debt)
    receipt = (await http.get(f"/v1/memories/{debt.memory_id}/receipt")).json()

    assert (receipt["files"], receipt["adapters"], receipt["engines"]) == (files, [adapter], ["one", "two"])


@pytest.mark.parametrize("error", [AdapterBusy, EngineFailed])
async def test_files_stay_while_an_engine_may_still_read_them(quiet: World, error: type[Exception]) -> None:
    debt, _, _ = await buried(quiet)

    class Stubborn:
        async def remove(self, url: str, name: str) -> bool:
            raise error("not yet")

    at = dataclasses.replace(places(quiet), client=Stubborn())  # type: ignore[arg-type]
    with pytest.raises(error):
        await eraser(at).settle(debt)

    assert quiet.gateway.artifacts.measure_memory(debt.tenant, debt.memory_id)[0] > 0
    assert await quiet.gateway.erasures.owed() == [debt]


async def test_files_go_only_after_the_grace_that_follows_the_unloading(quiet: World) -> None:
    debt, adapter, files = await buried(quiet)
    seen: list[tuple[float, int, int]] = []

    async def pause(seconds: float) -> None:
        held = sum(adapter in engine.held for engine in quiet.engines)
        seen.append((seconds, held, quiet.gateway.artifacts.measure_memory("acme", debt.memory_id)[0]))

    await Eraser(places(quiet), grace_s=7, pause=pause).settle(debt)

    assert seen == [(0.0, 2, files), (7, 0, files)]


async def test_a_trainer_at_work_is_fenced_off_and_waited_for(quiet: World, http: httpx.AsyncClient) -> None:
    body = {"name": "young", "documents": [{"name": "a.md", "text": "Ada."}]}
    memory_id = (await http.post("/v1/memories", json=body)).json()["id"]
    job = (await quiet.gateway.versions.open_jobs())[0]
    fence = await quiet.gateway.versions.claim(job, lease_s=60)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    one = eraser(places(quiet), pause)
    await one.bury(await quiet.gateway.memories.get("acme", memory_id), quiet.gateway.rememberer)
    renewed = await quiet.gateway.versions.renew(job, fence, lease_s=60)
    await one.settle(Debt("acme", memory_id))

    assert not renewed
    assert 50 < pauses[0] < 61
    assert await quiet.gateway.versions.open_jobs() == []


async def test_the_gateways_own_eraser_settles_what_an_earlier_one_left(world: World, http: httpx.AsyncClient) -> None:
    ada = await world.ready("ada")
    world.gateway.artifacts.write_memory("acme", ada.memory.id, {})
    tombstone = {"id": ada.memory.id, "name": "ada", "status": "erasing", "deleted_at": time.time(), "versions": 1}
    tombstone |= {"adapters": [ada.adapter], "documents": 1, "trained_until": 0.0}
    await world.gateway.memories.bury(ada.memory, tombstone)
    await world.gateway.eraser._try(Debt("acme", ada.memory.id))

    assert (await http.get(f"/v1/memories/{ada.memory.id}/receipt")).json()["status"] == "erased"


@pytest.mark.parametrize(("error", "said"), [(OSError, ("warning", None)), (ValueError, ("error", True))])
async def test_an_erasure_that_fails_stays_owed_and_a_fault_of_ours_is_logged_whole(
    quiet: World, http: httpx.AsyncClient, error: type[Exception], said: tuple[str, bool | None]
) -> None:
    class Away(ArtifactStore):
        def erase_memory(self, tenant: str, memory_id: str) -> tuple[int, int]:
            raise error("no endpoint")

    debt, _, _ = await buried(quiet)
    away = dataclasses.replace(places(quiet), artifacts=Away.open(quiet.settings))
    with capture_logs() as logs:
        await eraser(away)._try(debt)
    owed = (await http.get(f"/v1/memories/{debt.memory_id}/receipt")).json()["status"]
    await eraser(places(quiet))._try(debt)

    assert owed == "erasing"
    assert [(line["log_level"], line.get("exc_info")) for line in logs if "memory_id" in line] == [said]
    assert (await http.get(f"/v1/memories/{debt.memory_id}/receipt")).json()["status"] == "erased"


async def test_a_gateway_drops_what_it_made_of_a_memory_that_another_gateway_erased(
    redis: Registry, settings: Settings
) -> None:
    loop, swept = asyncio.get_running_loop(), asyncio.Event()

    class Noting(ArtifactStore):
        def drop_orphans(self) -> None:
            super().drop_orphans()
            loop.call_soon_threadsafe(swept.set)

    artifacts = Noting.open(settings)
    kept, gone = [AdapterName("acme", a_memory().id, 1, "a" * 12) for _ in range(2)]
    copies = [artifacts.cache_path(name, "embeddings.npz").parent for name in (kept, gone)]
    for copy in copies:
        copy.mkdir(parents=True)
    write_version(settings, kept)
    async with open_gateway(settings, redis, artifacts=artifacts), asyncio.timeout(10):
        await swept.wait()

    assert [copy.exists() for copy in copies] == [True, False]


async def test_there_is_no_receipt_for_what_lives(world: World, http: httpx.AsyncClient) -> None:
    ada = await world.ready("ada")

    assert (await http.get(f"/v1/memories/{ada.memory.id}/receipt")).status_code == 404
    with pytest.raises(NotFound):
        await world.gateway.erasures.tombstone("other", ada.memory.id)


async def compose(world: World, engine: int, *adapters: str) -> str:
    """Let one engine hold a composite, as a gateway that was asked for it does."""
    composition = Composition.of("cat", [AdapterName.parse(adapter) for adapter in adapters])
    await world.gateway.eraser._at.client.compose(world.engines[engine].url, composition)
    await world.gateway.engines.desire(world.engines[engine].id, str(composition.name), time.time())
    return str(composition.name)


async def test_erasing_a_memory_erases_every_composite_made_of_it_on_every_engine(
    quiet: World, http: httpx.AsyncClient
) -> None:
    ada, bob, eve = [await quiet.ready(name, number=number) for number, name in enumerate(("ada", "bob", "eve"), 1)]
    await quiet.report()
    gone = [await compose(quiet, 0, ada.adapter, bob.adapter), await compose(quiet, 1, eve.adapter, ada.adapter)]
    stays = await compose(quiet, 0, bob.adapter, eve.adapter)
    before = [set(engine.held) for engine in quiet.engines]
    one = eraser(places(quiet))
    await one.bury(ada.memory, quiet.gateway.rememberer)
    await one.settle(Debt("acme", ada.memory.id))
    receipt = (await http.get(f"/v1/memories/{ada.memory.id}/receipt")).json()

    assert before == [{gone[0], stays}, {gone[1]}]
    assert [engine.held for engine in quiet.engines] == [{stays}, set()]
    assert [set(engine.composed) for engine in quiet.engines] == [{stays}, set()]
    assert [set(await quiet.gateway.engines.desired(engine.id)) for engine in quiet.engines] == [{stays}, set()]
    assert receipt["adapters"] == sorted([ada.adapter, *gone])


async def test_an_adapter_loaded_again_before_its_files_are_gone_does_not_stay(quiet: World) -> None:
    debt, adapter, _ = await buried(quiet)

    async def pause(seconds: float) -> None:
        if seconds == 7:
            await quiet.report()  # that they hold nothing
            async with quiet.gateway.fleet.seat(adapter):  # a request that was let in before
                pass

    await Eraser(places(quiet), grace_s=7, pause=pause).settle(debt)

    assert [engine.loads for engine in quiet.engines] == [[adapter], []]
    assert [engine.held for engine in quiet.engines] == [set(), set()]
    assert [await quiet.gateway.engines.desired(engine.id) for engine in quiet.engines] == [{}, {}]


async def test_files_that_are_erased_stay_owed_while_a_late_request_runs(quiet: World, http: httpx.AsyncClient) -> None:
    debt, adapter, files = await buried(quiet)
    whole = places(quiet)

    class Late:
        """The adapter is in use when it is to be unloaded for the second time."""

        def __init__(self) -> None:
            self.rounds = 0

        async def purge(self, url: str, tenant: str, memory_id: str, *, files: bool) -> list[str]:
            self.rounds += files
            return await whole.client.purge(url, tenant, memory_id, files=files)

        async def remove(self, url: str, name: str) -> bool:
            if self.rounds:
                raise AdapterBusy("not yet")
            return await whole.client.remove(url, name)

    with pytest.raises(AdapterBusy):
        await eraser(dataclasses.replace(whole, client=Late())).settle(debt)  # type: ignore[arg-type]
    owed = await whole.erasures.owed()
    await eraser(whole).settle(debt)
    receipt = (await http.get(f"/v1/memories/{debt.memory_id}/receipt")).json()

    assert owed == [debt]
    assert (receipt["status"], receipt["files"], receipt["adapters"]) == ("erased", files, [adapter])


async def test_a_composite_made_while_its_member_is_erased_does_not_stay(quiet: World) -> None:
    ada, bob = await quiet.ready("ada", number=1), await quiet.ready("bob", number=2)
    await quiet.report()

    async def pause(_: float) -> None:
        await compose(quiet, 0, ada.adapter, bob.adapter)  # a request that another gateway let in before

    one = eraser(places(quiet), pause)
    await one.bury(ada.memory, quiet.gateway.rememberer)
    await one.settle(Debt("acme", ada.memory.id))

    assert quiet.engines[0].held == set()
    assert quiet.engines[0].composed == {}


async def test_another_tenants_composite_stays(quiet: World) -> None:
    ada, other = await quiet.ready("ada", number=1), await quiet.ready("ada", tenant="other", number=2)
    await quiet.report()
    stays = await compose(quiet, 0, other.adapter)
    one = eraser(places(quiet))
    await one.bury(ada.memory, quiet.gateway.rememberer)
    await one.settle(Debt("acme", ada.memory.id))

    assert quiet.engines[0].held == {stays}
