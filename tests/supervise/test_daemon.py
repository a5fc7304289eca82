"""What a start does about the supervisord that an earlier one left."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.settings import Settings
from app.supervise.daemon import wait_for_last

UNTIL_CLOSED = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    own = Settings(home=tmp_path)
    own.run_folder.mkdir(parents=True)
    return own


@pytest.fixture(params=["this", "another"])
def last(request: pytest.FixtureRequest, settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ends when its input does; by its command it is the supervisord of this home or of another."""
    config = settings.run_folder / "supervisord.conf" if request.param == "this" else "/elsewhere/supervisord.conf"
    with subprocess.Popen([*UNTIL_CLOSED, "--configuration", str(config)], stdin=subprocess.PIPE) as process:
        (settings.run_folder / "supervisord.pid").write_text(f"{process.pid}\n")
        yield process


@pytest.mark.parametrize("last", ["this"], indirect=True)
def test_a_supervisord_that_is_still_stopping_is_waited_for(
    settings: Settings, last: "subprocess.Popen[bytes]"
) -> None:
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        assert last.stdin is not None
        last.stdin.close()

    wait_for_last(settings, say)

    assert len(said) == 1
    assert not psutil.pid_exists(last.pid)


@pytest.mark.parametrize("last", ["another"], indirect=True)
def test_another_process_of_the_same_number_is_not_waited_for(
    settings: Settings, last: "subprocess.Popen[bytes]"
) -> None:
    said: list[str] = []
    wait_for_last(settings, said.append)

    assert said == []
    assert last.poll() is None


@pytest.mark.parametrize("note", [None, "", "4194305"])
def test_where_nothing_runs_nothing_is_waited_for(settings: Settings, note: str | None) -> None:
    if note is not None:
        (settings.run_folder / "supervisord.pid").write_text(note)
    said: list[str] = []
    wait_for_last(settings, said.append)

    assert said == []
