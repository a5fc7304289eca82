"""A trainer as a job opens it: whom it asks, and by which way."""

import time
from pathlib import Path

import pytest

from app.core.engines import EngineRecord
from app.errors import LeaseLost
from app.settings import Settings
from app.stores.engines import EngineStore
from app.stores.redis import Registry
from tests.proxy import proxied
from workers.trainer.job import open_trainer
from workers.trainer.make import CandidateMaker


async def test_engines_are_asked_directly_and_a_generator_elsewhere_by_the_environments_proxy(
    tmp_path: Path, redis: Registry, registry_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        _env_file=None,
        home=tmp_path,
        redis_url=registry_url,
        generator_url="http://models.example/v1",
        generator_model="large",
    )
    now = time.time()
    with proxied(monkeypatch) as proxy:
        record = EngineRecord("e1", proxy.url, 1, "b" * 64, "cpu", 4, 4, 16, 512, "0", now, now)
        await EngineStore(redis).report(record, 60)
        async with open_trainer(settings) as trainer:
            await trainer.examiner.ask_base({"messages": []})
            assert isinstance(trainer.maker, CandidateMaker)
            await trainer.maker.ask([], 0.0, 1)

    assert proxy.asked == ["/v1/chat/completions", "http://models.example/v1/chat/completions"]


async def test_a_trainer_that_fails_leaves_no_connection_open(
    tmp_path: Path, redis: Registry, registry_url: str
) -> None:
    settings = Settings(_env_file=None, home=tmp_path, redis_url=registry_url)
    before = {one["id"] for one in await redis.client_list()}  # of other tests as well

    async def fail() -> None:
        async with open_trainer(settings) as trainer:
            await trainer.engines.live()
            assert {one["id"] for one in await redis.client_list()} > before
            raise LeaseLost

    with pytest.raises(LeaseLost):
        await fail()

    assert {one["id"] for one in await redis.client_list()} <= before
