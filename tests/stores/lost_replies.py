"""Clients of a registry whose replies are lost on the way."""

from typing import Any

from app.stores.redis import Registry


class SentTwice:
    """A client that sends every script again, as redis-py does where the connection breaks before the reply."""

    def __init__(self, redis: Registry) -> None:
        self._redis = redis

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    def register_script(self, text: str) -> Any:
        script = self._redis.register_script(text)

        async def run(**sent: Any) -> Any:
            await script(**sent)
            return await script(**sent)

        return run


class CutOff(SentTwice):
    """A client whose scripts end in an error, before or after the server has run them."""

    def __init__(self, redis: Registry, error: BaseException, *, applied: bool, away: bool = False) -> None:
        super().__init__(redis)
        self._error, self._applied, self._away = error, applied, away

    def register_script(self, text: str) -> Any:
        script = self._redis.register_script(text)

        async def run(**sent: Any) -> Any:
            if self._applied:
                await script(**sent)
            raise self._error

        return run

    async def hgetall(self, key: str) -> Any:
        if self._away:
            raise self._error
        return await self._redis.hgetall(key)
