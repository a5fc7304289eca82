"""Deletions that are owed and receipts of those done. Owns the `tombstone` keys and `lk:erasures`.

`MemoryStore.bury` writes the tombstone and the debt in the step that deletes the memory, so a killed gateway
forgets neither.
"""

import time
from dataclasses import dataclass
from typing import Any

from app.errors import NotFound
from app.stores import layout
from app.stores.codec import decode, encode
from app.stores.redis import Registry


@dataclass(frozen=True)
class Debt:
    """A memory whose erasure is owed."""

    tenant: str
    memory_id: str


class ErasureStore:
    """Reads tombstones, settles debts."""

    def __init__(self, redis: Registry) -> None:
        self._redis = redis

    async def owed(self) -> list[Debt]:
        """List the erasures that are not finished, oldest first."""
        members = await self._redis.zrange(layout.ERASURES, 0, -1)
        return [Debt(*member.split("/")) for member in members]

    async def tombstone(self, tenant: str, memory_id: str) -> dict[str, Any]:
        """Return a deleted memory's tombstone, with the receipt's fields once it is settled.

        Raises:
            NotFound: no memory of the tenant with this id was deleted.
        """
        row = await self._redis.hgetall(layout.tombstone_key(tenant, memory_id))
        if not row:
            raise NotFound(f"There is no receipt for {memory_id[:64]!r}: it was not deleted, or never was.")
        return decode(row)

    async def note(self, debt: Debt, fields: dict[str, Any]) -> None:
        """Keep a part of the receipt before the erasure that makes it unknowable; what another gateway kept stays."""
        key = layout.tombstone_key(debt.tenant, debt.memory_id)

        async def once(pipe: Any) -> None:
            counted = await pipe.hexists(key, "files")
            pipe.multi()
            if not counted:
                pipe.hset(key, mapping=encode(fields))

        await self._redis.transaction(once, key)

    async def settle(self, debt: Debt, receipt: dict[str, Any]) -> None:
        """Write the receipt and strike the debt, as one step."""
        key = layout.tombstone_key(debt.tenant, debt.memory_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping=encode({**receipt, "erased_at": time.time()}))
            pipe.zrem(layout.ERASURES, f"{debt.tenant}/{debt.memory_id}")
            await pipe.execute()
