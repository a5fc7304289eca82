"""The base model's files and their digest: what an adapter was trained on must be what an engine serves."""

import hashlib
import json
import os
import secrets
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from app.errors import StartupError

PLAIN_TEMPLATE = Path(__file__).with_name("plain_chat.jinja")  # of a base model that brings no chat template
_WANTED = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors"]  # never pickles, never code


def find_base(model: str) -> Path:
    """Return the folder of the base model, fetching it first where `model` is a hub id.

    Raises:
        StartupError: there is no such model, or it has no safetensors weights.
    """
    folder = Path(model)
    if not folder.is_dir():
        if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
            raise StartupError(f"There is no base model at {model}: run `make setup`, or set LOREKEEP_BASE_MODEL.")
        folder = _fetch(model)
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise StartupError(
            f"{folder} holds no config.json and *.safetensors: set LOREKEEP_BASE_MODEL to a folder that does."
        )
    return folder.resolve()


def serving_template(folder: Path) -> Path | None:
    """Return the chat template to serve a base model with, None where it carries its own.

    Goes by the files alone: reading the tokenizer would hold up an engine's start by as long as transformers takes to
    load, ten seconds and more on two cores.
    """
    if (folder / "chat_template.jinja").is_file():
        return None
    try:
        has_own = bool(json.loads((folder / "tokenizer_config.json").read_bytes()).get("chat_template"))
    except (OSError, ValueError):
        has_own = False
    return None if has_own else PLAIN_TEMPLATE


def base_digest(folder: Path, home: Path) -> str:
    """Return the sha256, in hex, of the model's configuration and weights.

    Large models take a minute; the answer is kept under `home` for as long as no file changes.
    """
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = hashlib.sha256(json.dumps([str(folder.resolve()), stats]).encode()).hexdigest()
    kept = home / "digests" / key
    if kept.is_file():
        return kept.read_text()
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.name} {sha256(path)}\n".encode())
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_name(f".{key}.{secrets.token_hex(4)}")
    part.write_text(whole.hexdigest())
    os.replace(part, kept)
    return whole.hexdigest()


def sha256(path: Path) -> str:
    """Return the sha256 of one file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(model: str) -> Path:
    try:
        return Path(snapshot_download(model, allow_patterns=_WANTED))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise StartupError(f"The base model {model!r} cannot be fetched from the hub: {error}") from error
