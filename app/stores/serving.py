"""What serves now, of one tenant: read from the keys that `memories` and `versions` own, written nowhere."""

import json

from app.core.selection import Serving
from app.stores import layout
from app.stores.redis import Registry
from app.stores.scripts import Scripts

_FIELDS = 6


class ServingStore:
    """Tells what serves, and cheaply whether that has changed."""

    def __init__(self, redis: Registry) -> None:
        self._scripts = Scripts(redis)

    async def look(self, tenant: str, seen: str = "") -> tuple[str, list[Serving] | None]:
        """Return every memory of a tenant that serves, oldest first, and a digest of them all.

        Args:
            seen: the digest of an earlier look; nothing is listed where nothing has changed since.
        """
        prefixes = [layout.memory_key(tenant, ""), layout.version_key(tenant, "", 0).removesuffix(":0")]
        digest, *listed = await self._scripts.run("serving", [layout.memories_key(tenant)], [*prefixes, seen])
        return str(digest), [_serving(listed[0][at : at + _FIELDS]) for at in range(0, len(listed[0]), _FIELDS)] if (
            listed
        ) else None


def _serving(row: list[str]) -> Serving:
    memory_id, (version, name, metadata, generalist, adapter) = row[0], map(json.loads, row[1:])
    return Serving(memory_id, version, adapter, name, tuple(sorted(metadata.items())), generalist)
