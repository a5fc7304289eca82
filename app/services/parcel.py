"""An unpacked export: what its files must be before anything is kept of them. Decides by content, trusts no claim.

version/           manifest, weights and what else belongs to them
part-1/, part-2/…  the same for each part, where the version has parts
documents/         two files for each document
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from app.core.documents import Document, Pair, check_document_name
from app.core.errors import InvalidValue
from app.core.memory import DocumentRef
from app.core.recipe import Recipe
from app.errors import TooLarge, UnreadableExport
from app.rank import SELECTION
from app.services.shapes import Content, Form, Manifest, Model, Passage, Question, Ref, Tensor
from app.stores.artifacts import MANIFEST, PUBLISHED

FORMAT = 1  # as the trainer writes it
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
QUESTIONS, PASSAGES = "questions.jsonl", "passages.jsonl"
RECIPE = "recipe.json"
_NEEDED = (MANIFEST, CONFIG, WEIGHTS, QUESTIONS, PASSAGES)
_MAX_BYTES = {
    MANIFEST: 4 * 2**20,
    CONFIG: 64 * 2**10,
    WEIGHTS: 16 * 2**30,
    RECIPE: 64 * 2**10,
    PUBLISHED: 64 * 2**10,
    SELECTION: 64 * 2**20,
    **dict.fromkeys((QUESTIONS, PASSAGES, "coverage.jsonl", "examples.jsonl", "steps.jsonl"), 256 * 2**20),
}
_MAX_CONTENT_BYTES = 64 * 2**20  # of what was read from one document
_MAX_HEADER_BYTES = 4 * 2**20
_PATH = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}/(?:(documents)/([0-9a-f]{64}(?:\.json)?)|(?:(part-[1-9][0-9]{0,2})/)?([a-z_]+\.[a-z]+))"
)
_WHOLE = "version"  # the folder of a version without parts
_AGAIN = "export the memory again and send the tar as it is."

_Shape = TypeVar("_Shape")
_HEADER = TypeAdapter(dict[str, Tensor | dict[str, str]])
_OBJECT = TypeAdapter(dict[str, object])


@dataclass(frozen=True)
class Weights:
    """The folder of one adapter, and its manifest."""

    folder: Path
    manifest: Manifest


@dataclass(frozen=True)
class Parcel:
    """An export whose files are whole and fit each other.

    Attributes:
        parts: in their order; one where the version has no parts.
    """

    folder: Path
    parts: list[Weights]
    recipe: Recipe

    @property
    def manifest(self) -> Manifest:
        """The first part's; what all of them share is the same in each."""
        return self.parts[0].manifest

    @property
    def refs(self) -> list[DocumentRef]:
        """The documents, in their order."""
        return [DocumentRef(**ref.model_dump()) for ref in self.manifest.documents]

    def documents(self) -> Iterator[tuple[Document, bytes]]:
        """Yield each document and its bytes as they came.

        Raises:
            UnreadableExport: one is missing, or is not what its digest says.
        """
        for ref in self.manifest.documents:
            yield _read_document(self.folder / "documents" / ref.digest, ref)


class Places:
    """Says where the files of a tar go, under a folder that is there."""

    def __init__(self, folder: Path, max_document_bytes: int) -> None:
        self._folder, self._most = folder, max_document_bytes
        (folder / "documents").mkdir()

    def __call__(self, name: str, size_bytes: int) -> Path:
        """Return a file's place; made of parts that are matched whole, never of the name as it came.

        Raises:
            UnreadableExport: no export has such a file.
            TooLarge: no export has such a large one.
        """
        match = _PATH.fullmatch(name)
        if match is None or (match[4] and match[4] not in _MAX_BYTES):
            raise UnreadableExport(f"The tar holds {name[:80]!r}, which no export does: {_AGAIN}", "file")
        _, document, part, file = match.groups()
        most = _MAX_BYTES[file] if file else _MAX_CONTENT_BYTES if document.endswith(".json") else self._most
        if size_bytes > most:
            raise TooLarge(f"{file or document} in the tar is above {most} bytes: import a smaller memory.", "file")
        if not file:
            return self._folder / "documents" / document
        folder = self._folder / (part or _WHOLE)
        folder.mkdir(exist_ok=True)
        return folder / file


def open_parcel(folder: Path) -> Parcel:
    """Check the files that a tar was unpacked to; questions and passages are written anew.

    Raises:
        UnreadableExport: the text says which file is not as it must be, and what to do.
    """
    parts = [_open_weights(one) for one in _folders(folder)]
    for number, part in enumerate(parts, 1):
        _check_part(part, number, parts)
    manifest = parts[0].manifest
    parcel = Parcel(folder, parts, _read_recipe(manifest))
    _check_refs(manifest, {path.name for path in (folder / "documents").iterdir()})
    for _ in parcel.documents():
        pass
    return parcel


def _folders(folder: Path) -> list[Path]:
    """Return the folders that weights must be in: of parts as many as there are, else the one of the whole."""
    count = sum(path.name not in {_WHOLE, "documents"} for path in folder.iterdir())
    if count and (folder / _WHOLE).exists():
        raise UnreadableExport(f"The tar holds a version with parts and one without: {_AGAIN}", "file")
    return [folder / f"part-{number}" for number in range(1, count + 1)] or [folder / _WHOLE]


def _open_weights(folder: Path) -> Weights:
    for name in _NEEDED:
        if not (folder / name).is_file():
            place = "" if folder.name == _WHOLE else f"{folder.name}/"
            raise UnreadableExport(f"The tar has no {place}{name}: {_AGAIN}", "file")
    manifest = _read_manifest(folder / MANIFEST)
    _parse(_OBJECT.validate_json, (folder / CONFIG).read_bytes(), CONFIG)
    _check_weights(folder / WEIGHTS, manifest.digest)
    (folder / SELECTION).unlink(missing_ok=True)  # made of the other files where it is missing
    _rewrite(folder / QUESTIONS, Question)
    _rewrite(folder / PASSAGES, Passage)
    return Weights(folder, manifest)


def _check_part(one: Weights, number: int, parts: list[Weights]) -> None:
    """Check that a part is the one its folder says, of the same version as the first, and no other one's double."""
    part, shared = one.manifest.part, one.manifest.shared
    expected = None if one.folder.name == _WHOLE else (number, len(parts))
    if (part and (part.index, part.of)) != expected or shared != parts[0].manifest.shared:
        raise UnreadableExport(f"The parts in the tar are not all those of one version: {_AGAIN}", "file")
    if one.manifest.digest[:12] in {other.manifest.digest[:12] for other in parts[: number - 1]}:
        raise UnreadableExport(f"Two parts in the tar are the same: {_AGAIN}", "file")


def _read_manifest(path: Path) -> Manifest:
    data = path.read_bytes()
    form = _parse(Form.model_validate_json, data, MANIFEST)
    if form.format != FORMAT:
        raise UnreadableExport(
            f"The manifest's format is {form.format} and this gateway reads {FORMAT}: export the memory with a version "
            "of Lorekeep that writes that.",
            "file",
        )
    return _parse(Manifest.model_validate_json, data, MANIFEST)


def _read_recipe(manifest: Manifest) -> Recipe:
    try:
        return Recipe.from_dict(dict(manifest.recipe))
    except InvalidValue as error:
        raise UnreadableExport(f"The manifest's recipe cannot be used: {error}", "file") from error


def _check_weights(path: Path, digest: str) -> None:
    """Check digest and header by hand: the gateway does without the library that reads weights."""
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise UnreadableExport(f"{WEIGHTS} is not the file that the manifest promises: {_AGAIN}", "file")
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        data_bytes = path.stat().st_size - 8 - length
        if not 2 <= length <= _MAX_HEADER_BYTES or data_bytes < 0:
            raise UnreadableExport(f"{WEIGHTS} has no header of the safetensors format: {_AGAIN}", "file")
        tensors = _parse(_HEADER.validate_json, file.read(length), f"the header of {WEIGHTS}").values()
    spans = sorted(tensor.data_offsets for tensor in tensors if isinstance(tensor, Tensor))
    ends = [0, *(end for _, end in spans)]
    if [start for start, _ in spans] != ends[:-1] or ends != sorted(ends) or ends[-1] != data_bytes:
        raise UnreadableExport(f"The tensors of {WEIGHTS} do not fill it one after the other: {_AGAIN}", "file")


def _rewrite(path: Path, shape: type[Model]) -> None:
    part = path.with_suffix(".part")
    with path.open("rb") as source, part.open("wb") as target:
        for number, line in enumerate(source, 1):
            row = _parse(shape.model_validate_json, line, f"line {number} of {path.name}")
            target.write(row.model_dump_json().encode() + b"\n")
    part.replace(path)


def _check_refs(manifest: Manifest, there: set[str]) -> None:
    digests = [ref.digest for ref in manifest.documents]
    if len(set(digests)) < len(digests) or len({ref.name for ref in manifest.documents}) < len(digests):
        raise UnreadableExport(f"The manifest names a document twice: {_AGAIN}", "file")
    wanted = {name for digest in digests for name in (digest, f"{digest}.json")}
    if odd := sorted(wanted ^ there):
        missing = odd[0] in wanted
        said = "has no" if missing else "holds a document that the manifest does not name,"
        raise UnreadableExport(f"The tar {said} documents/{odd[0]}: {_AGAIN}", "file")


def _read_document(path: Path, ref: Ref) -> tuple[Document, bytes]:
    try:
        check_document_name(ref.name)
    except InvalidValue as error:
        raise UnreadableExport(str(error), "file") from error
    original = path.read_bytes()
    if hashlib.sha256(original).hexdigest() != ref.digest or len(original) != ref.size_bytes:
        raise UnreadableExport(f"The document {ref.name!r} is not the one that its digest names: {_AGAIN}", "file")
    content = _parse(
        Content.model_validate_json, path.with_suffix(".json").read_bytes(), f"documents/{ref.digest}.json"
    )
    if Ref(**content.model_dump(include=set(Ref.model_fields))) != ref:
        raise UnreadableExport(f"documents/{ref.digest}.json is of another document: {_AGAIN}", "file")
    if bool(content.text) != (ref.kind == "prose") or bool(content.pairs) != (ref.kind == "pairs"):
        raise UnreadableExport(f"documents/{ref.digest}.json is not of its kind, {ref.kind}: {_AGAIN}", "file")
    pairs = tuple(Pair(**pair.model_dump()) for pair in content.pairs)
    return Document(**ref.model_dump(), text=content.text, pairs=pairs), original


def _parse(validate: Callable[[bytes], _Shape], data: bytes, what: str) -> _Shape:
    try:
        return validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise UnreadableExport(f"In the tar, {what} is not JSON: {_AGAIN}", "file") from error
        field = ".".join(str(part) for part in first["loc"])[:80].encode("utf-8", "replace").decode()
        said = (
            f"In the tar, {what} is not as an export writes it ({field or 'the whole'}: {first['msg'][:200]}): {_AGAIN}"
        )
        raise UnreadableExport(said, "file") from error
