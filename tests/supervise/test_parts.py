"""What `up` runs, and how."""

import configparser
from pathlib import Path

from app.settings import Settings
from app.supervise.parts import configuration, environment, parts_of, registry_command


def test_the_embedded_registry_writes_everything_before_it_answers_and_opens_no_port(tmp_path: Path) -> None:
    command = registry_command(Settings(home=tmp_path))
    options = dict(zip(command[1::2], command[2::2], strict=True))

    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--port"] == "0"


def test_the_registry_is_not_started_where_another_one_is_set(tmp_path: Path) -> None:
    embedded = [part.name for part in parts_of(Settings(home=tmp_path))]
    elsewhere = [part.name for part in parts_of(Settings(home=tmp_path, redis_url="redis://there:6379/0"))]

    assert embedded == ["registry", "engine", "trainer", "gateway"]
    assert elsewhere == ["engine", "trainer", "gateway"]


def test_sockets_have_short_paths_whatever_the_home_is_called(tmp_path: Path) -> None:
    long, other = (Settings(home=tmp_path / (letter * 150)) for letter in "ab")

    assert len(str(long.registry_socket)) < 107
    assert long.registry_socket != other.registry_socket
    assert Settings(home=Path("/h")).registry_socket == Path("/h/run/registry.sock")


def test_every_part_has_a_log_of_its_own_and_is_stopped_as_a_group(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    parsed = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parsed.read_string(configuration(settings, parts_of(settings)))
    programs = [parsed[f"program:{part.name}"] for part in parts_of(settings)]

    assert len({program["stdout_logfile"] for program in programs}) == len(programs)
    assert all(program["stopasgroup"] == program["killasgroup"] == "true" for program in programs)


def test_parts_get_a_home_that_does_not_depend_on_the_working_folder(tmp_path: Path) -> None:
    assert environment(Settings(home=Path("here")), {})["LOREKEEP_HOME"] == str(Path("here").resolve())
