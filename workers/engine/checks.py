"""What an adapter's files must be before an engine reads them. Nothing here unpickles or trusts a path from a file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from app.core.canary import Canary
from app.core.composition import Composition
from app.core.names import AdapterName
from app.errors import AdapterRejected
from workers.base_model import sha256

CONFIG, MANIFEST, WEIGHTS = "adapter_config.json", "manifest.json", "adapter_model.safetensors"
_SUFFIXES = frozenset({".json", ".jsonl", ".safetensors"})
_MAX_BYTES = {CONFIG: 64 * 2**10, MANIFEST: 4 * 2**20, WEIGHTS: 16 * 2**30}
_DTYPES = frozenset({"F32", "F16", "BF16"})
_Schema = TypeVar("_Schema", bound=BaseModel)
# PEFT writes the first two with values that mean nothing alone; of the layers the tensors tell
_UNUSED = frozenset({"megatron_core", "qalora_group_size", "layers_to_transform", "layers_pattern"})


@dataclass(frozen=True)
class Limits:
    """What the engine can take."""

    max_rank: int
    max_model_len: int
    base_digest: str


@dataclass(frozen=True)
class Checked:
    """An adapter whose files are fit to load."""

    name: AdapterName
    folder: Path
    canary: Canary


class _Config(BaseModel):
    """The fields of `adapter_config.json` that may hold something; every other one must be empty."""

    model_config = ConfigDict(strict=True, extra="allow")

    peft_type: Literal["LORA"]
    r: int = Field(ge=1)
    lora_alpha: float = Field(gt=0, le=2**16)
    target_modules: list[str] = Field(min_length=1, max_length=4096)
    bias: Literal["none"] = "none"
    task_type: Literal["CAUSAL_LM"] | None = None
    init_lora_weights: bool = True
    lora_dropout: float = 0.0
    inference_mode: bool = True
    base_model_name_or_path: str | None = None  # ignored: the manifest's digest decides
    revision: str | None = None
    peft_version: str | None = None


class _Base(BaseModel):
    digest: str


class _Manifest(BaseModel):
    name: str
    tenant: str
    digest: str
    base: _Base
    canary: dict[str, Any]
    composition: dict[str, Any] = Field(default_factory=dict)


def check_adapter(name: AdapterName, folder: Path, limits: Limits) -> Checked:
    """Read and check a version's files.

    Args:
        folder: the real folder that the artifact store gave for `name`.

    Raises:
        AdapterRejected: something is not as it must be; the text says what.
    """
    _check_files(folder)
    rank = _check_config(folder / CONFIG, limits)
    _check_tensors(folder / WEIGHTS, rank)
    return Checked(name, folder, _check_manifest(name, folder, limits))


def _check_files(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_file() or path.suffix not in _SUFFIXES:
            raise AdapterRejected(f"The adapter's folder holds {path.name!r}, which no adapter may.")
    for name, most in _MAX_BYTES.items():
        if not (folder / name).is_file():
            raise AdapterRejected(f"The adapter has no {name}.")
        if (folder / name).stat().st_size > most:
            raise AdapterRejected(f"The adapter's {name} is above {most} bytes.")


def _check_config(path: Path, limits: Limits) -> int:
    config = _parse(_Config, path)
    loaded = sorted(name for name, value in (config.model_extra or {}).items() if value and name not in _UNUSED)
    if loaded:
        raise AdapterRejected(f"The adapter uses {', '.join(loaded)}, which engines do not serve.")
    if config.r > limits.max_rank:
        raise AdapterRejected(
            f"The adapter's rank {config.r} is above this engine's LOREKEEP_MAX_LORA_RANK {limits.max_rank}."
        )
    return config.r


def _check_tensors(path: Path, rank: int) -> None:
    try:
        with safe_open(path, framework="numpy") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            shapes = {name: (part.get_shape(), part.get_dtype()) for name, part in parts.items()}
    except (SafetensorError, OSError) as error:
        raise AdapterRejected(f"The adapter's {WEIGHTS} cannot be read: {error}") from error
    for name, (shape, dtype) in shapes.items():
        narrow = {".lora_A.weight": 0, ".lora_B.weight": 1}.get(name[name.rfind(".lora_") :])
        if narrow is None or len(shape) != 2 or shape[narrow] != rank or dtype not in _DTYPES:
            raise AdapterRejected(f"The adapter's tensor {name[:200]!r} is not a LoRA factor of rank {rank}.")
    if not shapes:
        raise AdapterRejected(f"The adapter's {WEIGHTS} holds no tensor.")


def _check_manifest(name: AdapterName, folder: Path, limits: Limits) -> Canary:
    manifest = _parse(_Manifest, folder / MANIFEST)
    if manifest.name != str(name) or manifest.tenant != name.tenant:
        raise AdapterRejected("The adapter's manifest is another adapter's.")
    if manifest.base.digest != limits.base_digest:
        raise AdapterRejected("The adapter was trained on another base model than this engine serves.")
    if sha256(folder / WEIGHTS) != manifest.digest or not _is_called(name, manifest):
        raise AdapterRejected("The adapter's weights are not the ones its name and manifest promise.")
    try:
        canary = Canary.from_dict(manifest.canary)
    except (KeyError, TypeError, ValueError) as error:
        raise AdapterRejected("The adapter's manifest holds no canary that can be read.") from error
    scored = len(canary.answer_ids)
    if not canary.prompt_ids or not scored or len(canary.prompt_ids) + scored >= limits.max_model_len:
        raise AdapterRejected("The adapter's canary is empty or longer than this engine's context.")
    if min(canary.prompt_ids + canary.answer_ids) < 0:
        raise AdapterRejected("The adapter's canary holds a negative token id.")
    if len(canary.adapter_logprobs) != scored or len(canary.base_logprobs) != scored:
        raise AdapterRejected("The adapter's canary has not one score per token.")
    return canary


def _is_called(name: AdapterName, manifest: _Manifest) -> bool:
    """Say whether the name is that of these weights; a composite's is that of its recipe, given before it is built."""
    if not name.is_composite:
        return manifest.digest[:12] == name.digest12
    try:
        return Composition.from_dict(manifest.composition).name == name
    except (KeyError, TypeError, ValueError) as error:
        raise AdapterRejected("The composite's manifest holds no composition that can be read.") from error


def _parse(schema: type[_Schema], path: Path) -> _Schema:
    try:
        return schema.model_validate(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        where = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "is not JSON"}
        field = ".".join(str(part) for part in where["loc"])
        raise AdapterRejected(f"The adapter's {path.name} is not fit to load: {field} {where['msg']}.") from error
