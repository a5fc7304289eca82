"""What `make setup` decides, without a network."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SETUP: dict[str, Any] = runpy.run_path(str(Path(__file__).parent.parent / "tools" / "setup.py"), run_name="setup")
uv_settings: Callable[[str], dict[str, str]] = SETUP["uv_settings"]
reason: Callable[[str], str] = SETUP["reason"]
is_whole: Callable[[Path], bool] = SETUP["is_whole"]


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
