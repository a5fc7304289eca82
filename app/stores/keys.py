"""API keys, kept as hashes only. Owns `lk:key` and `lk:keys`."""

import hashlib
import secrets
import time
from dataclasses import asdict, dataclass

from app.core.roles import Role
from app.errors import NotFound, Unauthenticated
from app.stores.codec import decode, encode
from app.stores.redis import Registry

_IDS = "lk:keys"
ADMIN_KEY_ID = "key_admin"


@dataclass(frozen=True)
class ApiKey:
    """One key; its secret is known to its holder alone.

    Attributes:
        expires_at: seconds since the epoch; 0 for never.
    """

    id: str
    tenant: str
    role: Role
    created_at: float
    expires_at: float = 0.0


class KeyStore:
    """Makes, checks, lists and revokes keys."""

    def __init__(self, redis: Registry) -> None:
        self._redis = redis

    async def create(self, tenant: str, role: Role, *, expires_at: float = 0.0) -> tuple[ApiKey, str]:
        """Make a key; returns it and its secret, which is not kept."""
        secret = "lk_" + secrets.token_urlsafe(32)
        key = ApiKey(f"key_{secrets.token_hex(8)}", tenant, role, time.time(), expires_at)
        await self._write(key, secret)
        return key, secret

    async def seed(self, secret: str, tenant: str) -> None:
        """Make sure that the admin key made at the first start is known."""
        await self._write(ApiKey(ADMIN_KEY_ID, tenant, Role.ADMIN, time.time()), secret)

    async def check(self, secret: str) -> ApiKey:
        """Return the key that a secret belongs to.

        Raises:
            Unauthenticated: unknown, revoked or expired.
        """
        row = await self._redis.hgetall(f"lk:key:{_digest(secret)}")
        key = _to_key(row) if row else None
        if key is None or (key.expires_at and key.expires_at <= time.time()):
            raise Unauthenticated("This API key is unknown, revoked or expired: send a valid one as a Bearer token.")
        return key

    async def all(self) -> list[ApiKey]:
        """List every key, oldest first."""
        digests = (await self._redis.hgetall(_IDS)).values()
        async with self._redis.pipeline(transaction=False) as pipe:
            for digest in digests:
                pipe.hgetall(f"lk:key:{digest}")
            rows = await pipe.execute()
        return sorted((_to_key(row) for row in rows if row), key=lambda key: key.created_at)

    async def revoke(self, key_id: str) -> None:
        """End a key at once.

        Raises:
            NotFound: there is none with this id.
        """
        digest = await self._redis.hget(_IDS, key_id)
        if digest is None:
            raise NotFound(f"There is no key {key_id[:64]!r}.")
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(f"lk:key:{digest}")
            pipe.hdel(_IDS, key_id)
            await pipe.execute()

    async def _write(self, key: ApiKey, secret: str) -> None:
        digest = _digest(secret)
        before = await self._redis.hget(_IDS, key.id)
        async with self._redis.pipeline(transaction=True) as pipe:
            if before and before != digest:
                pipe.delete(f"lk:key:{before}")
            pipe.hset(f"lk:key:{digest}", mapping=encode(asdict(key)))
            pipe.hset(_IDS, key.id, digest)
            await pipe.execute()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _to_key(row: dict[str, str]) -> ApiKey:
    fields = decode(row)
    return ApiKey(**{**fields, "role": Role(fields["role"])})
