"""A lease on a real server."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as Unreachable

from app.errors import LeaseLost
from app.stores.redis import Registry
from app.stores.versions import Job, VersionStore
from workers.trainer.lease import Lease

pytestmark = pytest.mark.redis


async def test_work_that_ends_gives_its_job_up_at_once(redis: Registry, job: Job) -> None:
    versions = VersionStore(redis)
    fence = await versions.claim(job, lease_s=60)
    async with Lease(versions, job, fence, 60) as lease:
        assert await versions.claim(job, lease_s=60) == 0

    assert lease.stop.is_set()
    assert await versions.claim(job, lease_s=60) == fence + 1


async def test_losing_the_lease_stops_the_work_where_it_waits(redis: Registry, job: Job) -> None:
    versions = VersionStore(redis)
    fence = await versions.claim(job, lease_s=60)
    await versions.release(job, fence)
    newer = await versions.claim(job, lease_s=60)
    lease = Lease(versions, job, fence, 60)

    with pytest.raises(LeaseLost):
        async with lease:
            await asyncio.Event().wait()
    assert lease.stop.is_set()
    assert await versions.renew(job, newer, lease_s=60)


class OnceAway(VersionStore):
    """A store whose registry does not answer the first time a lease is renewed; then for a minute, however often."""

    def __init__(self, redis: Registry) -> None:
        super().__init__(redis)
        self.tries, self.third = 0, asyncio.Event()

    async def renew(self, job: Job, fence: int, *, lease_s: float) -> bool:
        """See `VersionStore`."""
        self.tries += 1
        if self.tries == 1:
            raise Unreachable("refused")
        renewed = await super().renew(job, fence, lease_s=60)
        if self.tries == 3:
            self.third.set()  # not before: what the lease's end broke off would leave its connection open
        return renewed


async def test_a_registry_that_is_away_for_a_moment_does_not_end_the_renewals(redis: Registry, job: Job) -> None:
    versions = OnceAway(redis)
    fence = await versions.claim(job, lease_s=60)
    async with asyncio.timeout(20), Lease(versions, job, fence, 0.05) as lease:
        await versions.third.wait()
        assert not lease.stop.is_set()


async def test_work_that_a_lost_lease_finds_in_a_loop_of_its_own_can_go_on_afterwards(
    redis: Registry, job: Job
) -> None:
    versions = VersionStore(redis)
    with pytest.raises(LeaseLost):
        async with Lease(versions, job, 99, 60):
            await asyncio.Event().wait()

    await asyncio.sleep(0)
