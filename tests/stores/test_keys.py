"""API keys on a real server."""

import time

import pytest

from app.core.roles import Role
from app.errors import NotFound, Unauthenticated
from app.stores.keys import KeyStore
from app.stores.redis import Registry

pytestmark = pytest.mark.redis


async def test_a_key_is_known_by_its_secret_and_the_secret_is_not_kept(redis: Registry) -> None:
    key, secret = await KeyStore(redis).create("acme", Role.WRITER)

    assert await KeyStore(redis).check(secret) == key
    for name in await redis.keys("*"):
        assert secret not in name
        assert secret not in str(await redis.hgetall(name))


async def test_a_revoked_an_expired_and_an_unknown_key_are_refused_alike(redis: Registry) -> None:
    store = KeyStore(redis)
    revoked, revoked_secret = await store.create("acme", Role.READER)
    _, expired_secret = await store.create("acme", Role.READER, expires_at=time.time() - 1)
    await store.revoke(revoked.id)

    for secret in (revoked_secret, expired_secret, "lk_unknown"):
        with pytest.raises(Unauthenticated):
            await store.check(secret)
    with pytest.raises(NotFound):
        await store.revoke(revoked.id)


async def test_seeding_another_admin_key_ends_the_first(redis: Registry) -> None:
    store = KeyStore(redis)
    await store.seed("first", "default")
    await store.seed("second", "default")

    assert (await store.check("second")).role is Role.ADMIN
    with pytest.raises(Unauthenticated):
        await store.check("first")
    assert [key.id for key in await store.all()] == ["key_admin"]


@pytest.mark.parametrize(("role", "needed", "may"), [("admin", "reader", True), ("writer", "admin", False)])
def test_a_role_covers_those_below_it(role: str, needed: str, may: bool) -> None:
    assert Role(role).covers(Role(needed)) is may
