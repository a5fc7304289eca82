"""A memory leaves as a tar and comes back as a candidate; a stranger's tar leaves nothing."""

import asyncio
import dataclasses
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.core.context import Shown
from app.core.lifecycle import State
from app.core.memory import DocumentRef, Version
from app.core.names import AdapterName
from app.core.roles import Role
from app.errors import NoEngine
from app.services.documents import read_document
from app.stores.queue import TrainingQueue
from tests.api.conftest import World, http, settings, world
from tests.factories import a_memory, a_version
from workers.trainer.write import Candidate, find_candidates, read_exam

__all__ = ["http", "settings", "world"]
pytestmark = pytest.mark.redis

IMPORT = "/v1/memories/import"
MANIFEST_FIELDS = ["format", "digest", "recipe", "documents", "base", "canary", "trained_tokens"]
BASE = "b" * 64  # what the fake engines serve
TEXT, TABLE = b"Ada was born in 1815.", b"question,answer\nWho?,Ada\n"
DOCUMENTS = [("file", ("a.md", TEXT)), ("file", ("b.csv", TABLE))]
CANARY = {"prompt_ids": [1], "answer_ids": [2], "adapter_logprobs": [-0.5], "base_logprobs": [-3.0]}
Files = dict[str, bytes]


def weights(header: bytes | None = None, data: bytes = bytes(8)) -> bytes:
    fields = {"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    head = header if header is not None else json.dumps(fields).encode()
    return len(head).to_bytes(8, "little") + head + data


def files_of_version(version: Version) -> Files:
    """Return a version's files as a trainer writes them."""
    digest = hashlib.sha256(weights()).hexdigest()
    manifest = {
        "format": 1,
        "name": f"{version.tenant}.{version.memory_id}.v1.{digest[:12]}",
        "tenant": version.tenant,
        "digest": digest,
        "size_bytes": len(weights()),
        "recipe": version.recipe,
        "documents": [dataclasses.asdict(ref) for ref in version.documents],
        "created_at": 1.0,
        "base": {"digest": BASE, "name": "tiny"},
        "canary": CANARY,
        "trained_tokens": 7,
    }
    passage = {"document": "b.csv", "index": 0, "start": 0, "end": 8, "text": "Who? Ada", "answer_start": 5}
    question = {"question": "Who?", "answer": "Ada", "kind": "recall"}
    rows = {
        "manifest.json": manifest,
        "adapter_config.json": {"r": 16},
        "passages.jsonl": passage,
        "questions.jsonl": question,
    }
    files = {name: json.dumps(fields).encode() + b"\n" for name, fields in rows.items()}
    return {**files, "adapter_model.safetensors": weights()}


def an_export() -> Files:
    """Return the files of an export without making the memory."""
    documents = [read_document("a.md", TEXT), read_document("b.csv", TABLE)]
    refs = tuple(DocumentRef(one.name, one.digest, one.kind, one.size_bytes) for one in documents)
    files = files_of_version(a_version(a_memory(), documents=refs))
    for one, data in zip(documents, (TEXT, TABLE), strict=True):
        files |= {f"documents/{one.digest}": data, f"documents/{one.digest}.json": json.dumps(one.to_dict()).encode()}
    return {f"x.v1/{name}": data for name, data in files.items()}


async def exported(world: World, http: httpx.AsyncClient, name: str = "ada") -> bytes:
    """Make a memory that serves, and export it; engines are there from now on."""
    made = await http.post("/v1/memories", files=DOCUMENTS, data={"name": name})
    memory_id = made.json()["id"]
    version = await world.gateway.versions.get("acme", memory_id, 1)
    adapter = AdapterName("acme", memory_id, 1, hashlib.sha256(weights()).hexdigest()[:12])
    folder = world.settings.home / "artifacts" / adapter.folder
    folder.mkdir()
    for file, data in files_of_version(version).items():
        (folder / file).write_bytes(data)
    world.gateway.artifacts.mark_published(adapter, {"adapter": 1.0})
    ready = dataclasses.replace(version, state=State.READY, adapter=str(adapter))
    await world.gateway.versions.restore(ready)
    await world.gateway.memories.update("acme", memory_id, {"current": 1})
    await world.report()
    reply = await http.get(f"/v1/memories/{memory_id}/export")
    assert reply.status_code == 200, reply.text
    return reply.content


def files_of(tar: bytes) -> Files:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return {name: opened.extractfile(name).read() for name in opened.getnames()}  # type: ignore[union-attr]


def tar_of(files: Files) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target.getvalue()


def a_member(kind: bytes, **fields: Any) -> bytes:
    """Return a tar of one member that is no plain file."""
    info = tarfile.TarInfo("x/manifest.json")
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


async def send(http: httpx.AsyncClient, tar: bytes, name: str | None = None, **headers: str) -> httpx.Response:
    data = {"name": name} if name else {}
    return await http.post(IMPORT, files={"file": ("x.tar", tar)}, data=data, headers=headers)


def leftovers(world: World) -> list[str]:
    return [str(path) for path in (world.settings.home / "scratch").glob("*")]


def candidate_of(world: World, version: Version) -> Candidate | None:
    return find_candidates(world.gateway.artifacts, version, BASE).get(1)


async def test_an_export_holds_weights_manifest_and_every_document_twice(world: World, http: httpx.AsyncClient) -> None:
    files = files_of(await exported(world, http))
    folder = next(iter(files)).split("/")[0]
    digest = hashlib.sha256(b"Ada was born in 1815.").hexdigest()

    assert {f"{folder}/{name}" for name in ("adapter_model.safetensors", "adapter_config.json", "manifest.json")} <= {
        *files
    }
    assert files[f"{folder}/documents/{digest}"] == b"Ada was born in 1815."
    assert json.loads(files[f"{folder}/documents/{digest}.json"])["text"] == "Ada was born in 1815."
    assert len([name for name in files if "/documents/" in name]) == 4


async def test_a_memory_that_serves_nothing_yet_cannot_be_exported(world: World, http: httpx.AsyncClient) -> None:
    young = (await http.post("/v1/memories", files=DOCUMENTS)).json()["id"]

    assert (await http.get(f"/v1/memories/{young}/export")).status_code == 409


async def test_another_tenants_memory_cannot_be_exported(world: World, http: httpx.AsyncClient) -> None:
    await exported(world, http)
    memory_id = (await http.get("/v1/memories")).json()["data"][0]["id"]

    assert (await (await world.as_("other")).get(f"/v1/memories/{memory_id}/export")).status_code == 404


async def test_a_memory_whose_documents_are_lost_is_not_exported_in_part(world: World, http: httpx.AsyncClient) -> None:
    ready = await world.ready("old")

    assert (await http.get(f"/v1/memories/{ready.memory.id}/export")).status_code == 404


async def test_an_import_into_another_tenant_is_a_queued_memory_whose_candidate_is_found(
    world: World, http: httpx.AsyncClient
) -> None:
    tar = await exported(world, http)
    source = (await http.get("/v1/memories")).json()["data"][0]
    other = await world.as_("other")
    reply = await send(other, tar, "ada")
    body = reply.json()
    version = await world.gateway.versions.get("other", body["id"], 1)
    candidate = candidate_of(world, version)
    stores = world.gateway.artifacts
    old = await world.gateway.versions.get("acme", source["id"], 1)

    assert (reply.status_code, body["name"], body["status"], body["version"]) == (202, "ada", "queued", None)
    assert (await other.get(reply.headers["location"])).json() == body
    assert candidate is not None
    assert str(candidate.name) == f"other.{body['id']}.v1.{hashlib.sha256(weights()).hexdigest()[:12]}"
    assert candidate.size_bytes == len(weights())
    assert {question.kind for question in read_exam(stores, candidate.name).questions} == {"recall"}
    assert read_exam(stores, candidate.name).passages == [Shown("Who? Ada", 5)]
    assert stores.read_manifest(candidate.name)["name"] == str(candidate.name)
    assert (version.recipe, version.documents, version.failed_seeds) == (old.recipe, old.documents, 1)
    for ref in version.documents:
        assert stores.read_document("other", body["id"], ref.digest) == stores.read_document(
            "acme", source["id"], ref.digest
        )
    assert f"other/{body['id']}/1" in TrainingQueue(world.settings.registry_url).queued()
    assert leftovers(world) == []


async def test_what_the_gate_said_elsewhere_is_not_taken_over(world: World, http: httpx.AsyncClient) -> None:
    tar = await exported(world, http)
    memory_id = (await send(http, tar, "copy")).json()["id"]
    [name] = world.gateway.artifacts.versions("acme", memory_id)

    assert any(file.endswith("published.json") for file in files_of(tar))
    assert world.gateway.artifacts.read_published(name) is None


async def test_an_imported_memory_can_grow_and_can_be_trained_anew(world: World, http: httpx.AsyncClient) -> None:
    await world.report()
    memory_id = (await send(http, tar_of(an_export()), "copy")).json()["id"]
    await http.post(f"/v1/memories/{memory_id}/cancel")
    again = await http.post(f"/v1/memories/{memory_id}/retry", json={"recipe": {"epochs": 3}})
    retried = await world.gateway.versions.get("acme", memory_id, 1)
    more = await http.post(f"/v1/memories/{memory_id}/documents", files=[("file", ("c.md", "More of it."))])

    assert (again.status_code, candidate_of(world, retried)) == (202, None)
    assert more.status_code == 202
    assert [one["name"] for one in more.json()["documents"]] == ["a.md", "b.csv", "c.md"]


@pytest.mark.parametrize("replaced", [False, True], ids=["in the newest version", "in an older one"])
async def test_a_document_sent_again_under_another_name_is_refused_and_spoils_no_export(
    world: World, http: httpx.AsyncClient, replaced: bool
) -> None:
    await exported(world, http)
    memory_id = (await http.get("/v1/memories")).json()["data"][0]["id"]
    path = f"/v1/memories/{memory_id}"
    if replaced:
        await http.post(f"{path}/documents", files=[("file", ("b.csv", b"question,answer\nWhat?,Bob\n"))])
    digest = hashlib.sha256(TABLE).hexdigest()
    before = world.gateway.artifacts.read_document("acme", memory_id, digest), await world.traces()
    more = [("file", ("c.md", b"More of it.")), ("file", ("b.txt", TABLE))]
    reply = await http.post(f"{path}/documents", files=more)
    after = world.gateway.artifacts.read_document("acme", memory_id, digest), await world.traces()
    copy = await send(http, (await http.get(f"{path}/export")).content, "copy")

    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
    assert reply.json()["error"]["message"] == "'b.txt' and 'b.csv' are the same document: send one."
    assert after == before
    assert copy.status_code == 202


async def test_an_import_without_a_name_is_called_after_its_first_document(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.report()

    assert (await send(http, tar_of(an_export()))).json()["name"].startswith("a ")


async def test_a_tar_may_be_larger_than_an_upload_and_not_larger_than_an_import(
    world: World, http: httpx.AsyncClient
) -> None:
    await world.report()
    files = an_export()
    large = await send(http, tar_of({**files, "x.v1/steps.jsonl": bytes(120_000)}), "large")
    before = await world.traces()
    larger = await send(http, tar_of({**files, "x.v1/steps.jsonl": bytes(220_000)}), "larger")
    patched = await http.patch(IMPORT, content=bytes(120_000))

    assert large.status_code == 202
    assert (larger.status_code, larger.json()["error"]["code"]) == (413, "too_large")
    assert patched.status_code == 413
    assert await world.traces() == before


async def test_repeating_an_idempotency_key_gives_the_same_import(world: World, http: httpx.AsyncClient) -> None:
    await world.report()
    tar = tar_of(an_export())
    first = await send(http, tar, "copy", **{"Idempotency-Key": "one"})
    before = await world.traces()
    again = await send(http, tar, "copy", **{"Idempotency-Key": "one"})
    other = await send(http, tar, "else", **{"Idempotency-Key": "one"})

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")
    assert await world.traces() == before


async def test_a_name_that_is_taken_leaves_nothing_of_the_import(world: World, http: httpx.AsyncClient) -> None:
    await world.report()
    await world.ready("ada")
    tar = tar_of(an_export())
    before = await world.traces()
    reply = await send(http, tar, "ada")

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "name_taken")
    assert await world.traces() == before
    assert leftovers(world) == []


async def test_a_name_that_no_memory_may_have_is_refused(world: World, http: httpx.AsyncClient) -> None:
    reply = await send(http, tar_of(an_export()), "../x")

    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_name")


async def test_weights_of_another_base_model_are_refused_by_both_names(world: World, http: httpx.AsyncClient) -> None:
    tar = change_manifest(base={"digest": "c" * 64, "name": "huge"})(an_export())
    await world.report()
    before = await world.traces()
    reply = await send(http, tar_of(tar))

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "other_base_model")
    assert all(word in reply.json()["error"]["message"] for word in ("huge", "c" * 12, "b" * 12))
    assert await world.traces() == before


async def test_without_an_engine_nothing_is_imported(world: World, http: httpx.AsyncClient) -> None:
    reply = await send(http, tar_of(an_export()), "copy")

    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "no_engine")


async def test_an_engine_that_goes_while_an_import_is_unpacked_is_missed(world: World) -> None:
    await world.report(world.engines[0])
    loop, gateway = asyncio.get_running_loop(), world.gateway

    async def leave() -> None:
        await gateway.engines.withdraw("one", 1)
        await gateway.fleet.refresh()

    class Tar(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asyncio.run_coroutine_threadsafe(leave(), loop).result()
            return super().read(size)

    with pytest.raises(NoEngine):
        await gateway.importer.take_in("acme", Tar(tar_of(an_export())), "copy")


async def test_a_reader_cannot_import(world: World, http: httpx.AsyncClient) -> None:
    reader = await world.as_("acme", Role.READER)

    assert (await send(reader, tar_of(an_export()))).status_code == 403


def change(name: str, data: bytes | None) -> Callable[[Files], Files]:
    """Return what replaces a file of a tar, or takes it away."""

    def change_it(files: Files) -> Files:
        folder = next(iter(files)).split("/")[0]
        rest = {path: one for path, one in files.items() if path != f"{folder}/{name}"}
        return rest if data is None else {**rest, f"{folder}/{name}": data}

    return change_it


def change_manifest(**fields: Any) -> Callable[[Files], Files]:
    def change_it(files: Files) -> Files:
        path = next(path for path in files if path.endswith("manifest.json"))
        return {**files, path: json.dumps({**json.loads(files[path]), **fields}).encode()}

    return change_it


def change_weights(data: bytes) -> Callable[[Files], Files]:
    """Return what replaces the weights, with their true digest."""
    manifest = change_manifest(digest=hashlib.sha256(data).hexdigest())
    return lambda files: manifest(change("adapter_model.safetensors", data)(files))


def change_document(ending: str, data: bytes | None) -> Callable[[Files], Files]:
    def change_it(files: Files) -> Files:
        path = next(path for path in files if "/documents/" in path and path.endswith(".json"))
        path = path.removesuffix(".json") + ending
        rest = {name: one for name, one in files.items() if name != path}
        return rest if data is None else {**rest, path: data}

    return change_it


DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000
A_REF = {"name": "a.md", "digest": "d" * 64, "kind": "prose", "size_bytes": 1}
BAD = {
    "no manifest": change("manifest.json", None),
    "no weights": change("adapter_model.safetensors", None),
    "no configuration": change("adapter_config.json", None),
    "no questions": change("questions.jsonl", None),
    "no passages": change("passages.jsonl", None),
    "manifest is not JSON": change("manifest.json", b"{"),
    "manifest is deep": change("manifest.json", DEEP),
    "manifest is a list": change("manifest.json", b"[]"),
    "manifest is UTF-16": change("manifest.json", '{"format": 1}'.encode("utf-16")),
    "manifest holds half a surrogate": change("manifest.json", b'{"format": 1, "digest": "\\ud800"}'),
    "manifest of another format": change_manifest(format=2),
    "manifest's digest is a path": change_manifest(digest="../../x"),
    "manifest's digest is another": change_manifest(digest="0" * 64),
    "manifest has no documents": change_manifest(documents=[]),
    "manifest has another document": change_manifest(documents=[A_REF]),
    "manifest has a document twice": change_manifest(documents=[A_REF, A_REF]),
    "manifest's base is a text": change_manifest(base="tiny"),
    "canary is of texts": change_manifest(canary={**CANARY, "prompt_ids": ["1"]}),
    "canary is not a number": change_manifest(canary={**CANARY, "base_logprobs": [float("nan")]}),
    "recipe has an unknown field": change_manifest(recipe={"speed": 1}),
    "recipe is out of range": change_manifest(recipe={"rank": 0}),
    "recipe is a list": change_manifest(recipe=[]),
    "configuration is not JSON": change("adapter_config.json", b"\xff"),
    "configuration is large": change("adapter_config.json", b" " * 70_000 + b"{}"),
    "weights are empty": change_weights(b""),
    "weights' header is longer than they are": change_weights((2**40).to_bytes(8, "little") + b"{}"),
    "weights' header is not JSON": change_weights(weights(b"{{{{")),
    "weights' header is a list": change_weights(weights(b"[]")),
    "weights' header is deep": change_weights(weights(DEEP)),
    "weights are cut": change_weights(weights()[:-1]),
    "weights hold more than tensors": change_weights(weights() + b"x"),
    "weights overlap": change_weights(
        weights(
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
        )
    ),
    "a question has no answer": change("questions.jsonl", b'{"question": "Who?", "kind": "recall"}\n'),
    "questions are of no known kind": change("questions.jsonl", b'{"question":"Q","answer":"A","kind":"easy"}\n'),
    "a passage is not JSON": change("passages.jsonl", b"\n"),
    "a document is changed": change_document("", b"Ada was born in 1816."),
    "a document is missing": change_document("", None),
    "what was read is missing": change_document(".json", None),
    "what was read is of another document": change_document(
        ".json", json.dumps({**A_REF, "text": "x", "pairs": []}).encode()
    ),
    "a document that nothing names": change(f"documents/{'e' * 64}", b"x"),
    "a document is large": change_document("", bytes(110_000)),
    "an unknown file": change("run.sh", b"x"),
    "a pickle": change("adapter_model.bin", b"x"),
    "a path upwards": change("../x.json", b"{}"),
    "a path upwards in documents": change("documents/../../x.json", b"{}"),
    "an absolute path": lambda files: {**files, "/tmp/manifest.json": b"{}"},
    "a parent": lambda files: {**files, "../manifest.json": b"{}"},
    "no folder": lambda files: {name.split("/", 1)[1]: data for name, data in files.items()},
    "two folders": lambda files: {**files, "other/manifest.json": b"{}"},
}
RAW = {
    "nothing": b"",
    "no tar": b"x" * 5000,
    "zip": b"PK\x03\x04" + bytes(1000),
    "an empty tar": bytes(1024),
    "a symbolic link": a_member(tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": a_member(tarfile.LNKTYPE, linkname="/etc/passwd"),
    "a device": a_member(tarfile.CHRTYPE, devmajor=1, devminor=5),
    "a fifo": a_member(tarfile.FIFOTYPE),
    "a folder": a_member(tarfile.DIRTYPE),
    "a sparse file": a_member(tarfile.GNUTYPE_SPARSE, size=2**40),
    "an extended header": a_member(tarfile.XHDTYPE, size=2**31),
    "a long name": a_member(tarfile.GNUTYPE_LONGNAME, size=2**31),
    "a negative size": a_member(tarfile.REGTYPE, size=-512),
    "a file that is not there": a_member(tarfile.REGTYPE, size=4000),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
async def test_a_tar_that_is_no_whole_export_is_refused_without_a_trace(
    world: World, http: httpx.AsyncClient, spoil: Callable[[Files], Files]
) -> None:
    await world.report()
    tar = tar_of(spoil(an_export()))
    before = await world.traces()
    reply = await send(http, tar, "copy")

    assert reply.status_code in {400, 413}, reply.text
    assert reply.json()["error"]["message"].endswith(".")
    assert await world.traces() == before
    assert leftovers(world) == []


@pytest.mark.parametrize("tar", RAW.values(), ids=RAW)
async def test_what_is_no_plain_tar_is_refused_without_a_trace(
    world: World, http: httpx.AsyncClient, tar: bytes
) -> None:
    await world.report()
    before = await world.traces()
    reply = await send(http, tar, "copy")

    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unreadable_export"), reply.text
    assert await world.traces() == before
    assert leftovers(world) == []


async def test_a_tar_that_is_cut_anywhere_is_refused(world: World, http: httpx.AsyncClient) -> None:
    await world.report()
    tar = tar_of(an_export())
    before = await world.traces()
    replies = [await send(http, tar[:end], "copy") for end in range(0, len(tar.rstrip(bytes(1))), 700)]

    assert {reply.status_code for reply in replies} == {400}
    assert await world.traces() == before


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (415, {"content": b"{}", "headers": {"content-type": "application/json"}}),
        (400, {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=x"}}),
        (400, {"files": {"other": ("x.tar", b"x")}}),
        (400, {"files": [("file", ("x.tar", b"x")), ("file", ("y.tar", b"x"))]}),
        (400, {"files": {"name": (None, "copy")}}),
        (400, {"files": {"file": (None, "text")}}),
        (415, {"data": {"file": "text"}}),
        (400, {"files": {"file": ("x.tar", b"x")}, "data": {"colour": "red"}}),
    ],
)
async def test_what_is_no_form_with_one_file_is_refused(
    world: World, http: httpx.AsyncClient, status: int, sent: dict[str, Any]
) -> None:
    await world.report()
    reply = await http.post(IMPORT, **sent)

    assert reply.status_code == status


async def test_an_artifact_store_that_fails_midway_keeps_nothing(world: World, http: httpx.AsyncClient) -> None:
    await world.report()
    tar = tar_of(an_export())
    before = await world.traces()
    folder = world.settings.home / "artifacts" / "full"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a tenant's folder cannot be made where a file is")
    reply = await send(await world.as_("full"), tar, "copy")
    folder.unlink()
    _, files = await world.traces()

    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "unavailable")
    assert files == before[1]


FUZZED = hypothesis_settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@FUZZED
@given(noise=st.binary(max_size=2048))
async def test_arbitrary_bytes_are_the_senders_fault(world: World, http: httpx.AsyncClient, noise: bytes) -> None:
    await world.report()

    assert (await send(http, noise)).status_code == 400


@FUZZED
@given(noise=st.binary(min_size=1, max_size=64), at=st.floats(0, 1))
async def test_noise_in_an_export_is_never_the_gateways_fault(
    world: World, http: httpx.AsyncClient, noise: bytes, at: float
) -> None:
    await world.report()
    tar = tar_of(an_export())
    start = int(at * (len(tar) - len(noise)))
    reply = await send(http, tar[:start] + noise + tar[start + len(noise) :])

    assert reply.status_code < 500, reply.text


@FUZZED
@given(file=st.sampled_from(sorted(an_export())), field=st.sampled_from(["", *MANIFEST_FIELDS]), value=JSON)
async def test_arbitrary_json_in_an_export_is_never_the_gateways_fault(
    world: World, http: httpx.AsyncClient, file: str, field: str, value: object
) -> None:
    await world.report()
    data = json.dumps(value).encode("utf-8", "surrogatepass")
    spoil = change_manifest(**{field: value}) if field else change(file.removeprefix("x.v1/"), data)
    reply = await send(http, tar_of(spoil(an_export())))

    assert reply.status_code < 500, reply.text
