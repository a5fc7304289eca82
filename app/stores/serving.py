"""What serves now, of one tenant: read from the keys that `memories` and `versions` own, written nowhere."""

import json

from app.core.selection import Serving
from app.stores import layout
from app.stores.redis import Registry
from app.stores.scripts import Scripts

_FIELDS = 7


class ServingStore:
    """Tells what serves, and cheaply whether that has changed."""

    def __init__(self, redis: Registry) -> None:
        self._scripts = Scripts(redis)

    async def look(self, tenant: str, seen: str = "") -> tuple[str, list[Serving] | None]:
        """Return the tenant's revision, and every memory of it that serves, oldest first.

        Args:
            seen: the revision of an earlier look; nothing is listed where nothing has changed since.
        """
        keys = [layout.memories_key(tenant), layout.revision_key(tenant)]
        prefixes = [layout.memory_key(tenant, ""), layout.version_key(tenant, "", 0).removesuffix(":0")]
        revision, *listed = await self._scripts.run("serving", keys, [*prefixes, seen])
        if not listed:
            return str(revision), None
        [fields] = listed
        return str(revision), [_serving(fields[at : at + _FIELDS]) for at in range(0, len(fields), _FIELDS)]


def _serving(row: list[str]) -> Serving:
    memory_id, (version, name, metadata, generalist, adapter, parts) = row[0], map(json.loads, row[1:])
    adapters = tuple(parts) or (adapter,)
    return Serving(memory_id, version, adapters, name, tuple(sorted(metadata.items())), generalist)
