"""What `make setup` decides, without a network."""

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings

SCRIPT = Path(__file__).parent.parent / "tools" / "setup.py"
SETUP: dict[str, Any] = runpy.run_path(str(SCRIPT), run_name="setup")
uv_settings: Callable[[str], dict[str, str]] = SETUP["uv_settings"]
reason: Callable[[str], str] = SETUP["reason"]
is_whole: Callable[[Path], bool] = SETUP["is_whole"]
has_model: Callable[[Path], bool] = SETUP["has_model"]


def test_pips_settings_hold_for_uv_and_the_environments_win() -> None:
    listed = """:env:.index-url='https://mine/simple'
global.extra-index-url='https://one/simple https://two/simple'
global.find-links='/a\\n/b'
global.index-url='https://theirs/simple'
global.timeout='60'
"""

    assert uv_settings(listed) == {
        "UV_DEFAULT_INDEX": "https://mine/simple",
        "UV_INDEX": "https://one/simple https://two/simple",
        "UV_FIND_LINKS": "/a,/b",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_without_settings_all_indexes_are_weighed_as_pip_does() -> None:
    assert uv_settings("") == {"UV_INDEX_STRATEGY": "unsafe-best-match"}


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "cause: Because there is no version of torch==2.13.0 and you require torch==2.13.0, …",
            "no CPU build of torch",
        ),
        ("cause: Failed to fetch: `https://pypi.org/simple/idna/`", "cannot be reached"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("created successfully because ensurepip is not\navailable.  On Debian/Ubuntu …", "apt install python3-venv"),
        ("error: something else", "something else"),
    ],
)
def test_what_went_wrong_is_said_in_one_sentence(output: str, said: str) -> None:
    assert said in reason(output)


def test_an_environment_without_pip_was_not_made_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    half = is_whole(tmp_path)
    (tmp_path / "bin" / "pip").touch()

    assert (half, is_whole(tmp_path)) == (False, True)


def test_the_log_outlives_an_environment_that_is_made_again() -> None:
    assert not SETUP["LOG"].is_relative_to(SETUP["VENV"])


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No home and no base model in the environment."""
    monkeypatch.delenv("LOREKEEP_HOME", raising=False)
    monkeypatch.delenv("LOREKEEP_BASE_MODEL", raising=False)


def checkout(folder: Path, *, card: bool, torch: str) -> Path:
    """Make a checkout whose programs only note that they ran; return the note.

    Args:
        card: whether the machine has an NVIDIA card.
        torch: the CUDA version that torch says it was built for.
    """
    calls, programs = folder / "calls", folder / ".venv" / "bin"
    version = folder / ".venv/lib/python3.11/site-packages/torch/version.py"
    programs.mkdir(parents=True)
    for path in (programs / "python", programs / "pip", programs / "uv", folder / "g++", folder / "nvidia-smi"):
        path.write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\n')
        path.chmod(0o755)
    if not card:
        (folder / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    version.parent.mkdir(parents=True)
    version.write_text(f"cuda: Optional[str] = {torch}\nhip: Optional[str] = None\n")
    (folder / "tools").mkdir()
    shutil.copy(SCRIPT, folder / "tools")
    (folder / "pyproject.toml").touch()
    return calls


@pytest.mark.parametrize(
    ("card", "torch", "said"), [(False, "'13.0'", "no CPU build of torch"), (True, "None", "a CPU build of torch")]
)
def test_a_torch_for_the_other_kind_of_machine_is_refused_and_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, card: bool, torch: str, said: str
) -> None:
    calls = checkout(tmp_path, card=card, torch=torch)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    copied = runpy.run_path(str(tmp_path / "tools" / "setup.py"), run_name="setup")
    with pytest.raises(copied["SetupError"], match=said):
        copied["install"]()

    assert calls.read_text().splitlines()[-1] == "-m pip uninstall --yes torch torchaudio torchvision"


@pytest.mark.usefixtures("unset")
def test_the_model_is_made_again_where_it_is_gone_and_nothing_else_is_done(tmp_path: Path) -> None:
    calls = checkout(tmp_path, card=True, torch="'13.0'")

    def set_up() -> list[str]:
        calls.write_text("")
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        subprocess.run([sys.executable, tmp_path / "tools" / "setup.py"], env=environment, check=True)
        return [line for line in calls.read_text().splitlines() if line != "-L"]

    first, again = set_up(), set_up()
    model = tmp_path / ".lorekeep" / "models" / "SmolLM2-135M-Instruct"
    model.mkdir(parents=True)
    (model / "config.json").touch()

    assert len(first) > 1
    assert again == ["-m workers.prepare_model"]
    assert set_up() == []


@pytest.mark.usefixtures("unset")
@pytest.mark.parametrize(
    "line", ["LOREKEEP_HOME=here", " export LOREKEEP_HOME = 'here' # mine", 'LOREKEEP_HOME="here"']
)
def test_the_model_is_looked_for_where_the_settings_have_it(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"LOREKEEP_BASE_MODEL=\n#LOREKEEP_BASE_MODEL=x\n{line}\n")
    model = Settings(home=tmp_path / "here").default_model
    before = has_model(tmp_path)
    model.mkdir(parents=True)
    (model / "config.json").touch()

    assert (before, has_model(tmp_path)) == (False, True)


@pytest.mark.usefixtures("unset")
def test_no_model_is_made_where_another_one_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("LOREKEEP_BASE_MODEL=a/b\n")
    by_file = has_model(tmp_path)
    (tmp_path / ".env").unlink()
    monkeypatch.setenv("LOREKEEP_BASE_MODEL", "a/b")

    assert (by_file, has_model(tmp_path)) == (True, True)
