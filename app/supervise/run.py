"""`lorekeep up` from its first line to its last: start in order, show it, watch, stop."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import httpx
import redis
from filelock import FileLock, Timeout
from rich.console import Console

from app.errors import StartupError
from app.secret_files import admin_key, engine_key
from app.settings import Settings
from app.stores.engines import EngineStore
from app.stores.redis import connect
from app.supervise.board import Board
from app.supervise.checks import check_start, make_folders
from app.supervise.daemon import BROKEN, Daemon, Status
from app.supervise.parts import parts_of

START_S = 900.0
RETRY_S = 30.0


class Stopped(Exception):
    """The user asked to stop."""


def up(settings: Settings, console: Console) -> None:
    """Run everything until Ctrl-C or SIGTERM.

    Raises:
        StartupError: something cannot start; nothing is left running.
    """
    make_folders(settings)
    try:
        with FileLock(settings.run_folder / "up.lock", blocking=False), _signals():
            check_start(settings)
            admin_key(settings)
            engine_key(settings)
            _supervise(settings, console)
    except Timeout as error:
        raise StartupError(
            f"Lorekeep already runs on {settings.home.resolve()}: stop it, or set LOREKEEP_HOME to another folder."
        ) from error


def _supervise(settings: Settings, console: Console) -> None:
    daemon = Daemon.start(settings, dict(os.environ))
    try:
        _start(settings, daemon, console)
        _greet(settings, console)
        _watch(daemon, console)
    except Stopped:
        console.print("Stopping …")
    finally:
        with _deaf():
            daemon.stop()
    console.print("Stopped.")


def _start(settings: Settings, daemon: Daemon, console: Console) -> None:
    """Start the registry, then the rest side by side, until /readyz says that all is there."""
    names = [part.name for part in parts_of(settings)]
    tests: dict[str, Callable[[Settings], bool]] = {
        "registry": _registry_answers,
        "engine": _engine_reports,
        "gateway": _gateway_answers,
    }
    with Board(console, names) as board:
        if "registry" in names:
            daemon.begin("registry")
            board.begin("registry")
            _wait(settings, daemon, board, {"registry": tests["registry"]})
        rest = [name for name in names if name != "registry"]
        for name in rest:
            daemon.begin(name)
            board.begin(name)
        _wait(settings, daemon, board, {name: tests.get(name, lambda _: True) for name in rest})
        while not _is_ready(settings):
            _pause(settings, daemon, board)


def _wait(settings: Settings, daemon: Daemon, board: Board, tests: dict[str, Callable[[Settings], bool]]) -> None:
    waiting = dict(tests)
    until = time.monotonic() + START_S
    while waiting:
        running = _pause(settings, daemon, board)
        for name in list(waiting):
            if running.get(name) == "RUNNING" and waiting[name](settings):
                board.end(name)
                del waiting[name]
        if time.monotonic() > until:
            raise StartupError(f"{', '.join(waiting)} did not start within {START_S:.0f} s: see {settings.home}/logs.")


def _pause(settings: Settings, daemon: Daemon, board: Board) -> dict[str, str]:
    """Wait a moment; return each part's state.

    Raises:
        StartupError: a part cannot start; the text ends with the last lines of its log.
    """
    board.refresh()
    time.sleep(0.25)
    statuses = daemon.statuses()
    for status in statuses:
        if status.state in BROKEN:
            raise StartupError(f"The {status.name} does not start. Its log ends with:\n{_tail(settings, status.name)}")
    if not daemon.alive:
        raise StartupError(f"supervisord died: see {settings.home}/logs/supervisord.log.")
    return {status.name: status.state for status in statuses}


def _greet(settings: Settings, console: Console) -> None:
    where = "LOREKEEP_ADMIN_KEY" if settings.admin_key else str(settings.home / "admin.key")
    console.print(f"\nLorekeep is ready at [bold]http://{settings.host}:{settings.port}[/bold]", highlight=False)
    console.print(f"Admin key ({where}): {admin_key(settings).get_secret_value()}", highlight=False, soft_wrap=True)
    console.print(f"Logs are in {settings.home / 'logs'}. Ctrl-C stops everything.", highlight=False)


def _watch(daemon: Daemon, console: Console) -> None:
    """Say what dies and comes back; start again what supervisord has given up on."""
    before = {status.name: status for status in daemon.statuses()}
    retry_at: dict[str, float] = {}
    while daemon.alive:
        time.sleep(1)
        for status in daemon.statuses():
            _report(before.get(status.name), status, console)
            before[status.name] = status
            if status.state in {"FATAL", "EXITED"} and time.monotonic() > retry_at.get(status.name, 0.0):
                retry_at[status.name] = time.monotonic() + RETRY_S
                daemon.begin(status.name)
    raise StartupError("supervisord died, so everything was stopped: see its log, then start again.")


def _report(old: Status | None, new: Status, console: Console) -> None:
    now = time.strftime("%H:%M:%S")
    if new.state in BROKEN and (old is None or old.state not in BROKEN):
        console.print(f"{now} The {new.name} does not stay up: trying again. Its log says why.", highlight=False)
    elif old is not None and new.state == "RUNNING" and new.pid != old.pid:
        console.print(f"{now} The {new.name} died and was started again.", highlight=False)


def _tail(settings: Settings, name: str) -> str:
    log = settings.home / "logs" / f"{name}.log"
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return "\n".join(lines[-8:])


def _registry_answers(settings: Settings) -> bool:
    try:
        with redis.Redis.from_url(settings.registry_url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _engine_reports(settings: Settings) -> bool:
    return asyncio.run(_live(settings)) > 0


async def _live(settings: Settings) -> int:
    client = connect(settings.registry_url, retries=1)
    try:
        return len(await EngineStore(client).live())
    finally:
        await client.aclose()


def _gateway_answers(settings: Settings) -> bool:
    return _status(settings, "/healthz") == httpx.codes.OK


def _is_ready(settings: Settings) -> bool:
    return _status(settings, "/readyz") == httpx.codes.OK


def _status(settings: Settings, path: str) -> int:
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host
    try:
        return httpx.get(f"http://{host}:{settings.port}{path}", timeout=2).status_code
    except httpx.HTTPError:
        return 0


@contextmanager
def _signals() -> Iterator[None]:
    """Turn the signals that mean `stop` into `Stopped`."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _deaf() -> Iterator[None]:
    """Let no second Ctrl-C interrupt the stopping."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
