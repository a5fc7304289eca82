"""`lorekeep up` from its first line to its last: start in order, show it, watch, stop."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TypeAlias

import httpx
import redis
import rq
from filelock import FileLock, Timeout
from rich.console import Console
from rich.text import Text

from app.errors import StartupError
from app.secret_files import admin_key, engine_key
from app.settings import Settings, url_of
from app.stores.engines import EngineStore
from app.stores.redis import connect
from app.supervise.board import Board
from app.supervise.checks import check_start, make_folders
from app.supervise.daemon import BROKEN, Daemon, Status, wait_for_last
from app.supervise.parts import Part, parts_of

SPARE_S = 60.0  # what a start may take beside the engine's own
RETRY_S = 30.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Handler: TypeAlias = Callable[[int, FrameType | None], object] | signal.Handlers


class Stopped(Exception):
    """The user asked to stop."""


def up(settings: Settings, console: Console, parts: Sequence[Part] | None = None) -> None:
    """Run everything until Ctrl-C or SIGTERM.

    Args:
        parts: what to run instead of the settings' own parts, under the same names.

    Raises:
        StartupError: something cannot start; nothing is left running.
    """
    make_folders(settings)
    try:
        with FileLock(settings.run_folder / "up.lock", blocking=False), stoppable():
            wait_for_last(settings, console.print)
            check_start(settings)
            admin_key(settings)
            engine_key(settings)
            _supervise(settings, console, parts or parts_of(settings))
    except Stopped:
        console.print("Stopped.")
    except Timeout as error:
        raise StartupError(
            f"Lorekeep already runs on {settings.home.resolve()}: stop it, or set LOREKEEP_HOME to another folder."
        ) from error


def _supervise(settings: Settings, console: Console, parts: Sequence[Part]) -> None:
    daemon = Daemon.start(settings, parts, os.environ)
    try:
        daemon.wait(settings)
        _start(settings, daemon, console, [part.name for part in parts])
        _greet(settings, console)
        _watch(daemon, console)
    except Stopped:
        console.print("Stopping …")
        raise
    finally:
        with _deaf():
            daemon.stop()


def _start(settings: Settings, daemon: Daemon, console: Console, names: list[str]) -> None:
    """Start the registry, then the rest side by side, until /readyz says that all is there."""
    until = time.monotonic() + settings.engine_start_timeout.total_seconds() + SPARE_S
    with Board(console, names) as board:
        for together in (
            [name for name in names if name == "registry"],
            [name for name in names if name != "registry"],
        ):
            for name in together:
                daemon.begin(name)
                board.begin(name)
            waiting = set(together)
            while waiting:
                statuses = _pause(settings, daemon, board, until)
                for name in [one.name for one in statuses if one.name in waiting and _is_up(settings, one)]:
                    board.end(name)
                    waiting.remove(name)
        while not _is_ready(settings):
            _pause(settings, daemon, board, until)


def _pause(settings: Settings, daemon: Daemon, board: Board, until: float) -> list[Status]:
    """Wait a moment; return how each part is.

    Raises:
        StartupError: it is too late, or a part cannot start; the text ends with the last lines of its log.
    """
    board.refresh()
    time.sleep(0.25)
    statuses = daemon.statuses()
    for status in statuses:
        if status.state in BROKEN:
            raise StartupError(f"The {status.name} does not start. Its log ends with:\n{_tail(settings, status.name)}")
    if not daemon.alive:
        raise StartupError(f"supervisord died: see {settings.home}/logs/supervisord.log.")
    if time.monotonic() > until:
        raise StartupError(f"Not all parts are ready, and it took too long: see {settings.home}/logs.")
    return statuses


def _is_up(settings: Settings, status: Status) -> bool:
    """Say whether a part does its work; supervisord calls it `STARTING` for its first seconds whatever it does."""
    return status.state in {"STARTING", "RUNNING"} and TESTS[status.name](settings, status.pid)


def _greet(settings: Settings, console: Console) -> None:
    """Say all in one piece: who waits for the first line may read on at once."""
    where = "LOREKEEP_ADMIN_KEY" if settings.admin_key else str(settings.home / "admin.key")
    greeting = Text.assemble(  # not markup, where the brackets of an IPv6 address would be a style
        "\nLorekeep is ready at ",
        (url_of(settings.host, settings.port), "bold"),
        f"\nAdmin key ({where}): {admin_key(settings).get_secret_value()}\n"
        f"Logs are in {settings.home / 'logs'}. Ctrl-C stops everything.",
    )
    console.print(greeting, soft_wrap=True)


def _watch(daemon: Daemon, console: Console) -> None:
    """Say what dies and comes back; start again what supervisord has given up on."""
    pids = {status.name: status.pid for status in daemon.statuses()}
    retry_at: dict[str, float] = {}
    while daemon.alive:
        time.sleep(1)
        for status in daemon.statuses():
            if status.pid and status.pid != pids.get(status.name):
                pids[status.name] = status.pid
                _say(console, f"The {status.name} died and was started again; its log says why.")
            if status.state == "FATAL" and time.monotonic() > retry_at.get(status.name, 0.0):
                retry_at[status.name] = time.monotonic() + RETRY_S
                _say(console, f"The {status.name} does not stay up: trying again; its log says why.")
                daemon.begin(status.name)
    raise StartupError("supervisord died, so everything was stopped: see its log, then start again.")


def _say(console: Console, sentence: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {sentence}", highlight=False, soft_wrap=True)


def _tail(settings: Settings, name: str) -> str:
    log = settings.home / "logs" / f"{name}.log"
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return "\n".join(lines[-8:])


def _registry_answers(settings: Settings, _pid: int) -> bool:
    try:
        with redis.Redis.from_url(settings.registry_url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _engine_reports(settings: Settings, _pid: int) -> bool:
    try:
        with _held():
            return asyncio.run(_live(settings)) > 0
    except redis.RedisError:
        return False


def _trainer_waits_for_jobs(settings: Settings, pid: int) -> bool:
    try:
        with redis.Redis.from_url(settings.registry_url) as client:
            return any(worker.pid == pid for worker in rq.Worker.all(connection=client))
    except redis.RedisError:
        return False


async def _live(settings: Settings) -> int:
    async with connect(settings.registry_url, retries=1) as client:
        return len(await EngineStore(client).live())


def _gateway_answers(settings: Settings, _pid: int) -> bool:
    return _status(settings, "/healthz") == httpx.codes.OK


def _is_ready(settings: Settings) -> bool:
    return _status(settings, "/readyz") == httpx.codes.OK


def _status(settings: Settings, path: str) -> int:
    try:
        return httpx.get(f"{url_of(settings.host, settings.port)}{path}", timeout=2, trust_env=False).status_code
    except httpx.HTTPError:
        return 0


TESTS: Mapping[str, Callable[[Settings, int], bool]] = {
    "registry": _registry_answers,
    "engine": _engine_reports,
    "trainer": _trainer_waits_for_jobs,
    "gateway": _gateway_answers,
}


@contextmanager
def _handling(handler: _Handler) -> Iterator[None]:
    """Handle the signals that mean `stop` in one way; one that is ignored, as under nohup, stays so."""
    heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def stoppable() -> AbstractContextManager[None]:
    """Turn the signals that mean `stop` into `Stopped`."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    return _handling(stop)


@contextmanager
def _held() -> Iterator[None]:
    """Raise `Stopped` at the end alone: an event loop loses what a signal raises in it, or waits for ever."""
    heard: list[int] = []
    try:
        with _handling(lambda number, _frame: heard.append(number)):
            yield
    finally:
        if heard:
            raise Stopped


def _deaf() -> AbstractContextManager[None]:
    """Let no second Ctrl-C interrupt the stopping."""
    return _handling(signal.SIG_IGN)
