"""A finished training as a version's folder, and the folder's way into the artifact store."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.core.context import Shown
from app.core.memory import Version
from app.core.names import AdapterName
from app.core.partition import Part
from app.core.recipe import training_of
from app.stores.artifacts import MANIFEST, ArtifactStore
from workers.base_model import sha256
from workers.trainer.exam import Exam, Question

FORMAT = 1
WEIGHTS = "adapter_model.safetensors"
QUESTIONS, PASSAGES = "questions.jsonl", "passages.jsonl"


@dataclass(frozen=True)
class Candidate:
    """A version, or one part of it, whose weights are in the artifact store.

    Attributes:
        name: what engines call it.
        digest: sha256 of its weights, 64 hex digits.
        size_bytes: of its weights.
    """

    name: AdapterName
    digest: str
    size_bytes: int


def write_candidate(
    store: ArtifactStore, version: Version, weights: Path, rows: Mapping[str, Iterable[Mapping[str, Any]]], **facts: Any
) -> Candidate:
    """Add the records to a folder of weights and move it to where its digest says.

    Args:
        weights: a local folder that `save_adapter` wrote; gone afterwards.
        rows: JSONL files by name: passages, examples, steps.
        facts: further fields of the manifest: base, canary, trained_tokens, and a memory's or a guard's own.
    """
    digest = sha256(weights / WEIGHTS)
    name = AdapterName(version.tenant, version.memory_id, version.number, digest[:12])
    size_bytes = (weights / WEIGHTS).stat().st_size
    for file, lines in rows.items():
        (weights / file).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    (weights / "recipe.json").write_text(json.dumps(version.recipe, indent=2))
    manifest = {
        "format": FORMAT,
        "name": str(name),
        "tenant": version.tenant,
        "memory_id": version.memory_id,
        "version": version.number,
        "digest": digest,
        "size_bytes": size_bytes,
        "recipe": version.recipe,
        "documents": [asdict(document) for document in version.documents],
        "created_at": time.time(),
        **facts,
    }
    (weights / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False))
    store.publish(weights, name)
    return Candidate(name, digest, size_bytes)


def find_candidates(store: ArtifactStore, version: Version, base_digest: str, parts: int = 1) -> dict[int, Candidate]:
    """Return, by part, what earlier attempts trained for this version of so many parts.

    Recipe, documents and base model are the same.
    """
    documents = [asdict(document) for document in version.documents]
    wanted = (training_of(version.recipe), documents, base_digest, parts)
    found = {}
    for name, manifest in _kept(store, version):
        part = Part(**manifest.get("part", {}))
        if (training_of(manifest["recipe"]), manifest["documents"], manifest["base"]["digest"], part.of) == wanted:
            found[part.index] = Candidate(name, manifest["digest"], manifest["size_bytes"])
    return found


def planned_parts(store: ArtifactStore, version: Version) -> int:
    """Return how many parts a version is made of: as planned, or, with no plan, as it was imported."""
    if version.plan:
        return int(version.plan["partitions"])
    return max((Part(**manifest.get("part", {})).of for _, manifest in _kept(store, version)), default=1)


def _kept(store: ArtifactStore, version: Version) -> Iterator[tuple[AdapterName, dict[str, Any]]]:
    for name in store.versions(version.tenant, version.memory_id):
        if name.version == version.number:
            yield name, store.read_manifest(name)


def read_exam(store: ArtifactStore, name: AdapterName) -> Exam:
    """Return what to ask a candidate."""
    rows = store.read_lines(name, QUESTIONS)
    questions = [Question(row["question"], row["answer"], row.get("sentence", ""), row["kind"]) for row in rows]
    passages = store.read_lines(name, PASSAGES)
    return Exam(questions, [Shown(row["text"], row.get("answer_start", 0)) for row in passages])


def scratch(home: Path) -> Path:
    """Return a new empty folder for one training; those that crashes left behind are removed."""
    root = home.resolve() / "scratch"
    root.mkdir(parents=True, exist_ok=True)
    for old in root.iterdir():
        if time.time() - old.stat().st_mtime > 24 * 3600:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=root))
