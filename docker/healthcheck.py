"""Whether the part that this container runs is healthy: exit 0 if so, 1 if not, as Docker reads it.

The part is the first argument of the container's command, so one check serves every part. A trainer has no port: it is
healthy while its process runs and reaches the registry.
"""

import sys
from pathlib import Path

import httpx
import redis

from app.errors import StartupError
from app.secret_files import engine_key
from app.settings import Settings, load_settings, url_of

_PATIENCE_S = 4.0


def is_healthy(part: str, settings: Settings) -> bool:
    """Ask one part how it is."""
    if part == "gateway":
        return _answers(f"{url_of(settings.host, settings.port)}/healthz", {})
    if part == "engine":
        key = engine_key(settings).get_secret_value()
        url = url_of(settings.engine_host, settings.engine_port)
        return _answers(f"{url}/health", {"Authorization": f"Bearer {key}"})
    return _registry_answers(settings)


def part_of(command: bytes) -> str:
    """Return the part that a process runs, from its NUL-separated command line."""
    words = command.decode().split("\0")
    modules = {"app.main": "gateway", "workers.engine": "engine", "workers.trainer": "trainer"}
    return next((modules[word] for word in words if word in modules), "")


def _answers(url: str, headers: dict[str, str]) -> bool:
    try:
        return httpx.get(url, headers=headers, timeout=_PATIENCE_S, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _registry_answers(settings: Settings) -> bool:
    try:
        with redis.Redis.from_url(settings.registry_url, socket_timeout=_PATIENCE_S) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


if __name__ == "__main__":
    try:
        healthy = is_healthy(part_of(Path("/proc/1/cmdline").read_bytes()), load_settings())
    except (OSError, StartupError):
        healthy = False
    sys.exit(0 if healthy else 1)
