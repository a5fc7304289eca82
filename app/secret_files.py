"""Keys kept under the home folder: made once, mode 0600, read by every process of this machine."""

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from app.errors import StartupError
from app.settings import Settings


def admin_key(settings: Settings) -> SecretStr:
    """Return the admin key: the setting, else `admin.key`, made at first use."""
    return settings.admin_key or _read_or_make(settings.home / "admin.key", "lk_")


def engine_key(settings: Settings) -> SecretStr:
    """Return the key that engines ask of the gateway and the trainer: the setting, else `engine.key`."""
    return settings.engine_key or _read_or_make(settings.home / "engine.key", "lke_")


def _read_or_make(path: Path, prefix: str) -> SecretStr:
    path.parent.mkdir(parents=True, exist_ok=True)
    candidate = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    if not path.exists():
        with os.fdopen(os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(prefix + secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(candidate, path)  # fails where another process was first: its key stands
        except FileExistsError:
            pass
        finally:
            candidate.unlink()
    key = path.read_text().strip()
    if not key:
        raise StartupError(f"{path} is empty: delete it and start again to get a new key.")
    return SecretStr(key)
