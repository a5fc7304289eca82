"""Composites on the disk of one engine: built from their members' safetensors, dropped when they are not used.

    <root>/<engine id>.lock                                         held by the engine as long as it lives
    <root>/<engine id>/<tenant>/composites/<cmp id>/v1.<digest12>/  as a version's folder; whole with its manifest

A composite is a cache: everything in it can be built again from its members, and nothing of it outlives them. `build`
writes weights that nobody may load yet, `finish` the manifest, once the engine has proven them.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from app.core.canary import Canary
from app.core.composition import Composition
from app.core.names import AdapterName
from app.errors import AdapterRejected, ModelNotFound, NotFound
from app.stores.artifacts import ArtifactStore
from workers.base_model import sha256
from workers.engine.blend import blend
from workers.engine.checks import MANIFEST, WEIGHTS, Checked, Limits, check_adapter
from workers.engine.probes import Probe


@dataclass(frozen=True)
class Draft:
    """A composite that is built and not yet proven.

    Attributes:
        probes: each member's own, its canary first, in the order of the composition.
        facts: what its manifest will say of how it was made.
        text_rise: what the worst member loses in plain text, as its gate measured it.
    """

    composition: Composition
    folder: Path
    probes: tuple[tuple[Probe, ...], ...]
    facts: dict[str, Any]
    text_rise: float


class Composites:
    """The composites of one engine. Calls block."""

    def __init__(
        self,
        root: Path,
        store: ArtifactStore,
        limits: Limits,
        *,
        engine_id: str,
        most_bytes: int,
        probes: Callable[[Checked], tuple[Probe, ...]],
    ) -> None:
        """Open the folder.

        Args:
            root: of all engines that share a home.
            engine_id: whose composites these are.
            most_bytes: the size above which the least recently used composites are dropped.
            probes: what to ask of a member.
        """
        self._all_engines, self._root = root, root / engine_id
        self._store, self._limits = store, limits
        self._most_bytes, self._probes = most_bytes, probes

    def claim(self) -> FileLock:
        """Show other engines that this one lives, for as long as the lock is kept."""
        self._root.mkdir(parents=True, exist_ok=True)
        lock = _lock_of(self._root)
        lock.acquire()
        return lock

    def drop_dead(self) -> None:
        """Erase the composites of engines that have ended: nobody else would erase them with their members."""
        for folder in self._all_engines.glob("*/"):
            if folder != self._root:
                with suppress(Timeout), _lock_of(folder):
                    shutil.rmtree(folder)

    def local_folder(self, name: AdapterName) -> Path:
        """Return the folder of an adapter: a composite's here, any other's from the artifact store.

        Raises:
            NotFound: it is not there.
        """
        if not name.is_composite:
            return self._store.local_folder(name)
        folder = self._root / name.folder
        if not self.is_finished(name):
            raise NotFound(f"Composite {name} is not built here: compose it.")
        os.utime(folder / MANIFEST)  # what the budget goes by
        return folder

    def is_finished(self, name: AdapterName) -> bool:
        """Say whether the composite is here and proven."""
        return (self._root / name.folder / MANIFEST).is_file()

    def facts(self, name: AdapterName) -> dict[str, Any]:
        """Return what a finished composite says of itself."""
        manifest = json.loads((self.local_folder(name) / MANIFEST).read_bytes())
        return {field: manifest[field] for field in ("weights", "rank", "compression_error", "proof")}

    def build(self, composition: Composition, weights: Sequence[float]) -> Draft:
        """Write the weights of a composite.

        Raises:
            ModelNotFound: the artifact store does not hold a member.
            AdapterRejected: a member is not fit to load.
        """
        members = [self._member(name) for name in composition.members]
        folder = self._root / composition.name.folder
        self.drop(composition.name)
        folder.mkdir(parents=True)
        most = min(self._limits.max_rank, composition.max_rank or self._limits.max_rank)
        try:
            made = blend([one.folder for one in members], composition, weights, most, folder)
        except (SafetensorError, RuntimeError) as error:  # a factor without its pair, or of another shape
            raise AdapterRejected(f"The members of the composite do not fit together: {error}") from error
        facts = {"weights": list(weights), "rank": made.rank, "compression_error": round(made.error, 6)}
        probes = tuple(self._probes(one) for one in members)
        return Draft(composition, folder, probes, facts, max(self._text_rise(one.name) for one in members))

    def finish(self, draft: Draft, canary: Canary, proof: dict[str, Any], used: Collection[str]) -> None:
        """Make a proven composite loadable, and drop what is above the budget.

        Args:
            canary: what this engine scored, with the composite and without.
            used: names of the composites that must stay, because the engine holds them.
        """
        name, weights = draft.composition.name, draft.folder / WEIGHTS
        manifest = {
            "name": str(name),
            "tenant": name.tenant,
            "digest": sha256(weights),
            "size_bytes": weights.stat().st_size,
            "base": {"digest": self._limits.base_digest},
            "composition": draft.composition.to_dict(),
            "canary": canary.to_dict(),
            "proof": proof,
            **draft.facts,
        }
        part = draft.folder / f".{MANIFEST}"
        part.write_text(json.dumps(manifest, indent=2))
        part.rename(draft.folder / MANIFEST)
        self._trim({*used, str(name)})

    def drop(self, name: AdapterName) -> None:
        """Erase a composite's files; one that is not there is no error."""
        folder = (self._root / name.folder).parent
        if folder.exists():
            shutil.rmtree(folder)

    def made_of(self, tenant: str, owner: str) -> list[AdapterName]:
        """List the composites that have some version of a memory for a member."""
        return [
            composition.name
            for composition in self._all()
            if any((member.tenant, member.owner) == (tenant, owner) for member in composition.members)
        ]

    def orphans(self) -> list[AdapterName]:
        """List the composites of which a member is no longer in the artifact store."""
        return [
            composition.name
            for composition in self._all()
            if not all(self._store.holds(member) for member in composition.members)
        ]

    def drop_drafts(self, building: Collection[str]) -> None:
        """Erase what a crash left half-built; what is being built now stays."""
        for folder in self._root.glob("*/composites/cmp_*/v*"):
            tenant, _, owner, version = folder.parts[-4:]
            if not (folder / MANIFEST).is_file() and f"{tenant}.{owner}.{version}" not in building:
                shutil.rmtree(folder.parent, ignore_errors=True)

    def _member(self, name: AdapterName) -> Checked:
        try:
            folder = self._store.local_folder(name)
        except NotFound as error:
            raise ModelNotFound(f"A member of the composite, {name}, is not in the artifact store.") from error
        return check_adapter(name, folder, self._limits)

    def _text_rise(self, name: AdapterName) -> float:
        published = self._store.read_published(name) or {}
        return float((published.get("scores", {}).get("control") or {}).get("perplexity_rise", 0.0))

    def _all(self) -> Iterator[Composition]:
        for _, manifest in self._manifests():
            yield Composition.from_dict(manifest["composition"])

    def _manifests(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the finished composites' folders and manifests; one that is dropped meanwhile is skipped."""
        for path in self._root.glob(f"*/composites/cmp_*/v*/{MANIFEST}"):
            with suppress(FileNotFoundError):
                yield path.parent, {**json.loads(path.read_bytes()), "used_at": path.stat().st_mtime}

    def _trim(self, used: Collection[str]) -> None:
        left = self._most_bytes
        for folder, manifest in sorted(self._manifests(), key=lambda pair: pair[1]["used_at"], reverse=True):
            left -= manifest["size_bytes"]
            if left < 0 and manifest["name"] not in used:
                shutil.rmtree(folder.parent, ignore_errors=True)


def _lock_of(folder: Path) -> FileLock:
    return FileLock(f"{folder}.lock", blocking=False)
