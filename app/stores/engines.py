"""Engines in the registry: who is alive, what each holds and what each should hold. Owns `lk:engine`.

    lk:engine:epoch           counter; an agent's start takes the next number
    lk:engine:ids             every engine that has reported or is desired to hold something
    lk:engine:row:<id>        the last report, gone when the heartbeat stops
    lk:engine:resident:<id>   adapter -> residency, of the same report
    lk:engine:desired:<id>    sorted set: adapter -> when it was last asked for; outlives the engine's process
    lk:engine:pinned          adapters that no engine evicts

A gateway that loads an adapter by hand calls `desire` first: an agent unloads what nobody desires.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from app.core.engines import EngineRecord, Residency
from app.stores import layout
from app.stores.codec import decode, flat
from app.stores.redis import Registry
from app.stores.scripts import Scripts

_PREFIX = "lk:engine"
_IDS = f"{_PREFIX}:ids"
_DESIRED_DAYS = 30  # an engine that never returns is forgotten after so long


class EngineStore:
    """Reads and writes what the registry knows of engines."""

    def __init__(self, redis: Registry) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)

    # reports

    async def next_epoch(self) -> int:
        """Return a number above that of every agent that started before."""
        return int(await self._redis.incr(f"{_PREFIX}:epoch"))

    async def report(self, record: EngineRecord, ttl_s: float) -> bool:
        """Store one report, which lives for `ttl_s`.

        Returns:
            False if an agent with a newer epoch has reported for this engine; nothing is stored then.
        """
        row = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
        resident = {name: dataclasses.asdict(one) for name, one in row.pop("resident").items()}
        return bool(
            await self._scripts.run(
                "engine_report",
                [_row(record.id), _resident(record.id), _IDS],
                [record.epoch, round(ttl_s * 1000), flat(row), flat(resident), record.id],
            )
        )

    async def withdraw(self, engine_id: str, epoch: int) -> None:
        """Take the engine out of service at once; a newer agent's report stays."""
        await self._scripts.run("engine_withdraw", [_row(engine_id), _resident(engine_id)], [epoch])

    async def live(self) -> list[EngineRecord]:
        """Return every engine whose heartbeat is fresh, by id."""
        ids = sorted(await self._redis.smembers(_IDS))
        async with self._redis.pipeline(transaction=True) as pipe:
            for engine_id in ids:
                pipe.hgetall(_row(engine_id)).hgetall(_resident(engine_id)).exists(_desired(engine_id))
            replies = await pipe.execute()
        rows = list(zip(ids, replies[::3], replies[1::3], replies[2::3], strict=True))
        gone = [engine_id for engine_id, row, _, desired in rows if not row and not desired]
        if gone:
            await self._redis.srem(_IDS, *gone)
        return [_record(row, resident) for _, row, resident, _ in rows if row]

    # desired state

    async def desire(self, engine_id: str, adapter: str, at: float) -> None:
        """Say that the engine should hold the adapter, asked for at `at` (seconds since the epoch)."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.sadd(_IDS, engine_id)
            pipe.zadd(_desired(engine_id), {adapter: at}, gt=True)
            pipe.expire(_desired(engine_id), _DESIRED_DAYS * 86400)
            await pipe.execute()

    async def desired(self, engine_id: str) -> dict[str, float]:
        """Return what the engine should hold and when each was last asked for."""
        return {name: float(at) for name, at in await self._redis.zrange(_desired(engine_id), 0, -1, withscores=True)}

    async def trim(self, engine_id: str, names: Mapping[str, float]) -> None:
        """Stop desiring adapters there, but for those asked for since.

        Args:
            names: adapter -> the time that `desired` gave for it.
        """
        if names:
            seen = [part for pair in names.items() for part in pair]
            await self._scripts.run("engine_trim", [_desired(engine_id)], seen)

    async def forget(self, adapter: str) -> None:
        """Stop desiring the adapter on every engine, and unpin it."""
        ids = await self._redis.smembers(_IDS)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.srem(layout.PINNED, adapter)
            for engine_id in ids:
                pipe.zrem(_desired(engine_id), adapter)
            await pipe.execute()

    # pins

    async def pin(self, adapter: str) -> None:
        """Keep every engine that holds the adapter from evicting it."""
        await self._redis.sadd(layout.PINNED, adapter)

    async def unpin(self, adapter: str) -> None:
        """Let engines evict the adapter again."""
        await self._redis.srem(layout.PINNED, adapter)

    async def pin_serving(self, tenant: str, memory_id: str) -> None:
        """Pin what serves of a memory that is pinned, and nothing else of it; nothing of one that is gone."""
        prefix = layout.version_key(tenant, memory_id, 0).removesuffix("0")
        await self._scripts.run("pin_serving", [layout.memory_key(tenant, memory_id), layout.PINNED], [prefix])

    async def pinned(self) -> set[str]:
        """Return the pinned adapters."""
        return set(await self._redis.smembers(layout.PINNED))


def _row(engine_id: str) -> str:
    return f"{_PREFIX}:row:{engine_id}"


def _resident(engine_id: str) -> str:
    return f"{_PREFIX}:resident:{engine_id}"


def _desired(engine_id: str) -> str:
    return f"{_PREFIX}:desired:{engine_id}"


def _record(row: Mapping[str, str], resident: Mapping[str, str]) -> EngineRecord:
    held = {name: Residency(**_known(Residency, fields)) for name, fields in decode(resident).items()}
    return EngineRecord(**_known(EngineRecord, decode(row)), resident=held)


def _known(kind: type[EngineRecord | Residency], row: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what this release does not know: while one is rolled out, engines of the next report too."""
    return {field.name: row[field.name] for field in dataclasses.fields(kind) if field.name in row}
