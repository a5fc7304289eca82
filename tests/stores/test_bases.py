"""What trainers find out about their base model, on a real server."""

import dataclasses

import pytest

from app.core.capacity import PRIOR, Base, Point
from app.stores.bases import BaseStore
from app.stores.redis import Registry
from tests.factories import SHAPE

pytestmark = pytest.mark.redis
OTHER = dataclasses.replace(SHAPE, digest="c" * 64, name="other")
LAW = dataclasses.replace(PRIOR, base=SHAPE.digest, conditions={"epochs": 40}, points=3)


async def test_nothing_is_known_before_a_trainer_has_described_its_base_model(redis: Registry) -> None:
    assert await BaseStore(redis).current() is None


async def test_the_base_model_described_last_is_the_current_one(redis: Registry) -> None:
    store = BaseStore(redis)
    await store.describe(SHAPE)
    await store.describe(OTHER)

    assert await store.current() == Base(OTHER)


async def test_what_was_measured_outlives_another_description(redis: Registry) -> None:
    store = BaseStore(redis)
    await store.describe(SHAPE)
    await store.keep_law(LAW)
    await store.note_speed(SHAPE.digest, 1400.5)
    await store.describe(OTHER)
    await store.describe(SHAPE)

    assert await store.current() == Base(SHAPE, LAW, 1400.5)


async def test_points_belong_to_one_base_model_and_one_way_of_training(redis: Registry) -> None:
    store = BaseStore(redis)
    point = Point(rank=2, parameters=400, facts=24, tokens=500, recalled=20)
    await store.keep_point(SHAPE.digest, {"epochs": 40}, dataclasses.replace(point, recalled=3))
    await store.keep_point(SHAPE.digest, {"epochs": 40}, point)
    await store.keep_point(SHAPE.digest, {"epochs": 40}, dataclasses.replace(point, facts=6))

    assert [one.facts for one in await store.points(SHAPE.digest, {"epochs": 40})] == [6, 24]
    assert (await store.points(SHAPE.digest, {"epochs": 40}))[1] == point
    assert await store.points(SHAPE.digest, {"epochs": 9}) == []
    assert await store.points(OTHER.digest, {"epochs": 40}) == []
