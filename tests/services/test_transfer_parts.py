"""A memory of several parts leaves whole and comes back whole, or not at all."""

import dataclasses
import hashlib
import json
from collections.abc import Callable

import httpx
import pytest

from app.core.lifecycle import State
from app.core.names import AdapterName
from tests.api.conftest import World, http, settings, world
from tests.services.test_transfer import BASE, DOCUMENTS, Files, files_of, files_of_version, send, tar_of, weights
from workers.trainer.write import find_candidates, planned_parts

__all__ = ["http", "settings", "world"]
pytestmark = pytest.mark.redis


async def exported(world: World, http: httpx.AsyncClient) -> Files:
    """Make a memory of two parts that serves, and export it; engines are there from now on."""
    memory_id = (await http.post("/v1/memories", files=DOCUMENTS, data={"name": "ada"})).json()["id"]
    version = await world.gateway.versions.get("acme", memory_id, 1)
    names = []
    for index in (1, 2):
        files = files_of_version(version)
        files["adapter_model.safetensors"] = own = weights(data=bytes([index] * 8))
        digest = hashlib.sha256(own).hexdigest()
        manifest = json.loads(files["manifest.json"]) | {"digest": digest, "part": {"index": index, "of": 2}}
        files["manifest.json"] = json.dumps(manifest).encode()
        adapter = AdapterName("acme", memory_id, 1, digest[:12])
        folder = world.settings.home / "artifacts" / adapter.folder
        folder.mkdir()
        for file, data in files.items():
            (folder / file).write_bytes(data)
        names.append(str(adapter))
    world.gateway.artifacts.mark_published(AdapterName.parse(names[0]), {"adapter": 1.0}, names)
    ready = dataclasses.replace(version, state=State.READY, adapter=names[0], parts=tuple(names))
    await world.gateway.versions.restore(ready)
    await world.gateway.memories.update("acme", memory_id, {"current": 1})
    await world.report()
    return files_of((await http.get(f"/v1/memories/{memory_id}/export")).content)


async def test_an_export_holds_every_part_and_the_documents_once(world: World, http: httpx.AsyncClient) -> None:
    files = await exported(world, http)
    places = [name.partition("/")[2] for name in files]

    assert {f"part-{n}/adapter_model.safetensors" for n in (1, 2)} <= {*places}
    assert len([place for place in places if place.startswith("documents/")]) == 4
    assert [place for place in places if place.endswith("published.json")] == ["part-1/published.json"]


async def test_an_import_is_found_by_the_trainer_part_by_part(world: World, http: httpx.AsyncClient) -> None:
    files = await exported(world, http)
    reply = await send(http, tar_of(files), "copy")
    version = await world.gateway.versions.get("acme", reply.json()["id"], 1)
    store = world.gateway.artifacts
    found = find_candidates(store, version, BASE, 2)

    assert reply.status_code == 202, reply.text
    assert planned_parts(store, version) == 2
    assert {index: store.read_manifest(one.name)["part"] for index, one in found.items()} == {
        index: {"index": index, "of": 2} for index in (1, 2)
    }
    assert {one.digest for one in found.values()} == {
        hashlib.sha256(weights(data=bytes([index] * 8))).hexdigest() for index in (1, 2)
    }
    assert all(store.read_published(one.name) is None for one in found.values())


def without_a_part(files: Files) -> Files:
    return {name: data for name, data in files.items() if "/part-2/" not in name}


def without_the_first(files: Files) -> Files:
    return {name: data for name, data in files.items() if "/part-1/" not in name}


def with_a_whole_one_beside(files: Files) -> Files:
    return files | {name.replace("part-1/", ""): data for name, data in files.items() if "/part-1/" in name}


def as_a_whole_one(files: Files) -> Files:
    return {name.replace("part-1/", ""): data for name, data in without_a_part(files).items()}


def swapped(files: Files) -> Files:
    return {
        name.replace("part-1", "part-x").replace("part-2", "part-1").replace("part-x", "part-2"): data
        for name, data in files.items()
    }


def twins(files: Files) -> Files:
    return files | {
        name.replace("part-1", "part-2"): data.replace(b'"index": 1', b'"index": 2')
        for name, data in files.items()
        if "/part-1/" in name and not name.endswith("published.json")
    }


def of_another_recipe(files: Files) -> Files:
    name = next(name for name in files if name.endswith("part-2/manifest.json"))
    manifest = json.loads(files[name])
    manifest["recipe"]["epochs"] = 3
    return files | {name: json.dumps(manifest).encode()}


@pytest.mark.parametrize(
    "spoil",
    [without_a_part, without_the_first, with_a_whole_one_beside, as_a_whole_one, swapped, twins, of_another_recipe],
)
async def test_parts_that_do_not_belong_together_are_refused_and_leave_nothing(
    world: World, http: httpx.AsyncClient, spoil: Callable[[Files], Files]
) -> None:
    files = await exported(world, http)
    before = await world.traces()
    reply = await send(http, tar_of(spoil(files)), "copy")

    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unreadable_export"), reply.text
    assert await world.traces() == before


async def test_more_parts_than_an_engine_holds_are_refused(world: World, http: httpx.AsyncClient) -> None:
    files = await exported(world, http)
    for engine in world.engines:
        await world.gateway.engines.report(dataclasses.replace(engine.record(), capacity=1), 60)
    await world.gateway.fleet.refresh()
    reply = await send(http, tar_of(files), "copy")

    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "too_much")
