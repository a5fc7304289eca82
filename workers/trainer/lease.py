"""A job held: renewed in the background, and the work stopped the moment it is lost."""

import asyncio
import threading
from types import TracebackType
from typing import Self

import structlog
from redis.exceptions import RedisError

from app.errors import LeaseLost
from app.stores.versions import Job, VersionStore

log = structlog.get_logger()


class Lease:
    """An async context in which a job belongs to this process.

    Attributes:
        stop: set when the work must end; threads look at it, coroutines are cancelled.
        wait_s: how long nobody takes the job up again after this process gave it up.
        counted: whether giving it up leaves an attempt behind.
    """

    wait_s: float = 0
    counted: bool = True

    def __init__(self, versions: VersionStore, job: Job, fence: int, lease_s: float) -> None:
        self.stop = threading.Event()
        self._versions, self._job, self._fence, self._lease_s = versions, job, fence, lease_s
        self._lost = False

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the job up.

        Raises:
            LeaseLost: it was lost before; takes the place of the cancellation that losing it caused.
        """
        self.stop.set()
        self._keeper.cancel()
        if self._lost:
            if self._owner is not None:
                self._owner.uncancel()
            raise LeaseLost("Another trainer holds this version now, or it was cancelled.") from error
        await self._versions.release(self._job, self._fence, wait_s=self.wait_s, counted=self.counted)

    async def _keep(self) -> None:
        held = True
        while held:
            try:
                held = await self._versions.renew(self._job, self._fence, lease_s=self._lease_s)
            except RedisError as error:  # whether it is lost is told once the registry answers again
                log.warning("lease.not_renewed", reason=type(error).__name__)
            await asyncio.sleep(self._lease_s / 5 if held else 0)
        if self.stop.is_set():
            return  # given up meanwhile: there is nobody left to stop
        self._lost = True
        self.stop.set()
        if self._owner is not None:
            self._owner.cancel()
