"""What is known of base models: shape, speed, law and the measurements under it. Owns `lk:base`.

lk:base:current                          digest of the base model that trainers train on
lk:base:row:<digest>                     its shape, its law, and the speed of the last training
lk:base:points:<digest>:<conditions>     "<rank>/<facts>" -> one measurement, for one way of training
"""

import dataclasses
import hashlib
import json
from typing import Any

from app.core.capacity import Base, BaseShape, Law, Point
from app.stores.codec import decode, encode
from app.stores.redis import Registry

_CURRENT = "lk:base:current"


class BaseStore:
    """Reads and writes what trainers find out about their base model."""

    def __init__(self, redis: Registry) -> None:
        self._redis = redis

    async def describe(self, shape: BaseShape) -> None:
        """Say which base model trainers train on; what was measured of it before stays."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(_row(shape.digest), mapping=encode({"shape": shape.to_dict()}))
            pipe.set(_CURRENT, shape.digest)
            await pipe.execute()

    async def current(self) -> Base | None:
        """Return the base model that trainers train on; None while none has described it."""
        digest = await self._redis.get(_CURRENT)
        fields = decode(await self._redis.hgetall(_row(digest))) if digest else {}
        if "shape" not in fields:
            return None
        law = Law(**fields["law"]) if "law" in fields else None
        return Base(BaseShape.from_dict(fields["shape"]), law, fields.get("tokens_per_s"))

    async def note_speed(self, digest: str, tokens_per_s: float) -> None:
        """Keep how fast the last training on a base model was."""
        await self._redis.hset(_row(digest), mapping=encode({"tokens_per_s": tokens_per_s}))

    async def keep_law(self, law: Law) -> None:
        """Keep the law that was fitted on a base model."""
        await self._redis.hset(_row(law.base), mapping=encode({"law": dataclasses.asdict(law)}))

    async def keep_point(self, digest: str, conditions: dict[str, Any], point: Point) -> None:
        """Keep one measurement."""
        await self._redis.hset(
            _points(digest, conditions), f"{point.rank}/{point.facts}", json.dumps(dataclasses.asdict(point))
        )

    async def points(self, digest: str, conditions: dict[str, Any]) -> list[Point]:
        """Return what was measured of a base model under these conditions, smallest first."""
        rows = await self._redis.hvals(_points(digest, conditions))
        return sorted((Point(**json.loads(row)) for row in rows), key=lambda point: (point.rank, point.facts))


def _row(digest: str) -> str:
    return f"lk:base:row:{digest}"


def _points(digest: str, conditions: dict[str, Any]) -> str:
    key = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()
    return f"lk:base:points:{digest}:{key[:16]}"
