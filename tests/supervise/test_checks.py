"""What `up` refuses before it starts anything."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import StartupError
from app.settings import Settings
from app.supervise.checks import check_start, make_folders
from app.supervise.run import TESTS


def ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return numbers


@pytest.fixture
def fields(tmp_path: Path) -> dict[str, Any]:
    """Settings that could start."""
    (tmp_path / "config.json").write_text("{}")
    gateway, engine = ports(2)
    return {"home": tmp_path, "base_model": str(tmp_path), "port": gateway, "engine_port": engine}


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_good_settings_pass(fields: dict[str, Any]) -> None:
    check_start(Settings(**fields))


@pytest.mark.parametrize(("field", "variable"), [("port", "LOREKEEP_PORT"), ("engine_port", "LOREKEEP_ENGINE_PORT")])
def test_a_taken_port_is_named_with_its_variable(fields: dict[str, Any], field: str, variable: str, taken: int) -> None:
    with pytest.raises(StartupError, match=rf"{taken}.*set {variable} to a free port"):
        check_start(Settings(**{**fields, field: taken}))


def test_a_folder_without_a_model_is_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"no base model in .*nowhere: set LOREKEEP_BASE_MODEL"):
        check_start(Settings(**{**fields, "base_model": str(tmp_path / "nowhere")}))


def test_a_missing_default_model_sends_the_user_to_the_set_up(fields: dict[str, Any]) -> None:
    with pytest.raises(StartupError, match="run `make setup`"):
        check_start(Settings(**{**fields, "base_model": ""}))


def test_a_hub_id_is_left_to_the_engine(fields: dict[str, Any]) -> None:
    check_start(Settings(**{**fields, "base_model": "somebody/some-model"}))


@pytest.mark.parametrize(
    ("place", "why"), [("nosuch://x/y", "Protocol not known"), ("file:///proc/lorekeep", "it cannot be written to")]
)
def test_artifacts_that_cannot_be_kept_where_they_should_be_are_refused(
    fields: dict[str, Any], place: str, why: str
) -> None:
    with pytest.raises(StartupError, match=rf"LOREKEEP_ARTIFACTS is {place}: {why}"):
        check_start(Settings(**fields, artifacts=place))


def test_a_registry_elsewhere_that_answers_passes(fields: dict[str, Any], registry_url: str) -> None:
    check_start(Settings(**fields, redis_url=registry_url))


@pytest.mark.parametrize("url", ["redis://:secret@127.0.0.1:1/0", "there:6379"])
def test_a_registry_elsewhere_that_is_away_is_refused_without_its_password(fields: dict[str, Any], url: str) -> None:
    with pytest.raises(StartupError, match=r"registry does not answer.*LOREKEEP_REDIS_URL") as refused:
        check_start(Settings(**fields, redis_url=url))

    assert "secret" not in str(refused.value)


def test_a_registry_elsewhere_that_refuses_the_password_is_refused(fields: dict[str, Any], registry_url: str) -> None:
    with pytest.raises(StartupError, match="LOREKEEP_REDIS_PASSWORD"):
        check_start(Settings(**fields, redis_url=registry_url.replace("unix://", "unix://nobody:wrong@")))


def test_an_engine_is_not_up_while_the_registry_is_away(fields: dict[str, Any]) -> None:
    assert not TESTS["engine"](Settings(**fields, redis_url="redis://127.0.0.1:1/0"), 0)


def test_a_home_that_cannot_be_made_is_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="set LOREKEEP_HOME"):
        make_folders(Settings(**{**fields, "home": tmp_path / "config.json"}))


def test_folders_are_for_their_user_alone(fields: dict[str, Any]) -> None:
    settings = Settings(**fields)
    make_folders(settings)

    assert [folder.stat().st_mode & 0o077 for folder in (settings.run_folder, settings.home / "redis")] == [0, 0]
