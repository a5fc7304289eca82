"""`lorekeep up` over real processes that start in no time: it brings them up, back and down."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.settings import Settings
from app.supervise.run import TESTS, Stopped, stoppable
from tests.proxy import needs_ipv6

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 120.0


class Up:
    """One running `up` and everything it has started."""

    def __init__(self, home: Path, output: str = "up.out", **variables: str) -> None:
        self.home = home
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            ports = {"LOREKEEP_PORT": str(one.getsockname()[1]), "LOREKEEP_ENGINE_PORT": str(two.getsockname()[1])}
        model = home / "model"
        model.mkdir(parents=True, exist_ok=True)
        (model / "config.json").write_text("{}")
        settings = {"LOREKEEP_HOME": str(home), "LOREKEEP_BASE_MODEL": str(model), **ports, **variables}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOREKEEP_")}
        self.output = home / output
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.supervise.stand_in", "up"],
                env={**inherited, **settings},
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        """Return all it printed so far."""
        return self.output.read_text()

    def family(self) -> dict[str, psutil.Process]:
        """Return its descendants, by the last word of their command lines."""
        found = {}
        for one in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):  # one that just ended has no command line
                found[one.cmdline()[-1]] = one
        return found

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something to become so."""
        until = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < until, self.said()
            time.sleep(0.05)

    def wait_ready(self) -> None:
        """Wait until it says that all is there."""
        self.wait_until(lambda: "Ctrl-C stops" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()


@contextlib.contextmanager
def running(home: Path, **variables: str) -> Iterator[Up]:
    """Run `up` until it is ready, and to the end of the block."""
    started = Up(home, **variables)
    try:
        started.wait_ready()
        yield started
    finally:
        started.process.terminate()
        started.process.wait(PATIENCE_S)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """An `up` for one test to kill."""
    with running(tmp_path) as started:
        yield started


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """An `up` for all tests that leave it running."""
    with running(tmp_path_factory.mktemp("home")) as started:
        yield started


def gone(family: dict[str, psutil.Process]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_every_part_and_their_children(up: Up, number: signal.Signals) -> None:
    family = up.family()
    up.process.send_signal(number)

    assert up.process.wait(PATIENCE_S) == 0
    assert {"engine", "trainer", "gateway", "3600"} <= set(family)
    assert gone(family)
    assert up.said().endswith("Stopping …\nStopped.\n")


class Interrupted(asyncio.DefaultEventLoopPolicy):
    """Makes event loops in which a signal arrives."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_event_loop()
        loop.call_soon(signal.raise_signal, signal.SIGTERM)
        return loop


@pytest.mark.parametrize("registry", ["there", "away"])
def test_a_signal_while_the_registry_is_asked_for_engines_is_not_lost(
    registry: str, registry_url: str, tmp_path: Path
) -> None:
    settings = Settings(redis_url=registry_url if registry == "there" else f"unix://{tmp_path}/none")
    usual = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(Interrupted())
    try:
        with pytest.raises(Stopped), stoppable():
            TESTS["engine"](settings, 0)
    finally:
        asyncio.set_event_loop_policy(usual)


def test_a_hangup_that_nohup_ignores_stops_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_it_says_what_started_and_where_to_go(lasting: Up) -> None:
    said = lasting.said()

    assert all(f"{name}: up after" in said for name in ("registry", "engine", "trainer", "gateway"))
    assert (lasting.home / "admin.key").read_text() in said
    assert all(
        (lasting.home / "logs" / f"{name}.log").is_file() for name in ("registry", "engine", "trainer", "gateway")
    )


def test_a_killed_part_comes_back_and_the_user_is_told(lasting: Up) -> None:
    before = lasting.family()["gateway"]
    before.kill()
    lasting.wait_until(lambda: "The gateway died and was started again" in lasting.said())

    lasting.wait_until(lambda: lasting.family().get("gateway", before).pid != before.pid)


def test_nothing_survives_the_sudden_death_of_up(up: Up) -> None:
    family = up.family()
    up.process.kill()
    up.process.wait(PATIENCE_S)

    up.wait_until(lambda: gone(family))


def test_nothing_survives_the_sudden_death_of_supervisord(up: Up) -> None:
    family = up.family()
    [supervisord] = psutil.Process(up.process.pid).children()
    supervisord.kill()

    assert up.process.wait(PATIENCE_S) == 2
    assert gone(family)
    assert "supervisord died" in up.said()


def test_a_second_up_on_the_same_home_is_refused_and_the_first_goes_on(lasting: Up) -> None:
    family = lasting.family()
    second = Up(lasting.home, "second.out")

    assert second.process.wait(PATIENCE_S) == 2
    assert second.said().startswith("Lorekeep already runs on")
    assert second.said().count("\n") == 1
    assert not gone(family)


def test_a_part_that_cannot_start_ends_it_all_with_the_parts_own_words(tmp_path: Path) -> None:
    broken = Up(tmp_path, LOREKEEP_TEST_BROKEN="1")

    assert broken.process.wait(PATIENCE_S) == 2
    assert "The trainer does not start." in broken.said()
    assert "the trainer cannot find its model" in broken.said()
    assert [one for one in psutil.process_iter() if str(tmp_path) in " ".join(_cmdline(one))] == []


def test_a_home_with_a_long_path_of_odd_characters_works(tmp_path: Path) -> None:
    with running(tmp_path / ("x %yé" * 30)) as started:
        pass

    assert started.process.returncode == 0


@needs_ipv6
def test_it_runs_on_an_ipv6_address_and_says_which(tmp_path: Path) -> None:
    with running(tmp_path, LOREKEEP_HOST="::1", LOREKEEP_ENGINE_HOST="::1") as started:
        assert "Lorekeep is ready at http://[::1]:" in started.said()


def _cmdline(one: psutil.Process) -> list[str]:
    try:
        return one.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
