"""What processes say when they are started; `registry rebuild` where something is not there: a sentence, and soon."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner

from app.cli.commands import app
from tests.factories import memory_id

ROOT = Path(__file__).parent.parent.parent


def rebuild(home: Path, **variables: str) -> tuple[int, str]:
    """Rebuild a registry; return the exit code and what stands on stderr."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOREKEEP_")}
    done = subprocess.run(
        [sys.executable, "-c", "from app.cli import main; main()", "registry", "rebuild"],
        env={**inherited, "PYTHONPATH": str(ROOT), "LOREKEEP_HOME": str(home), **variables},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("part", ["up", "gateway", "engine", "trainer"])
def test_a_misspelt_variable_is_named_before_anything_starts_and_its_value_is_not(part: str, tmp_path: Path) -> None:
    variables = {"LOREKEEP_HOME": str(tmp_path), "LOREKEEP_PROT": "8123", "LOREKEEP_PORT": "soon"}
    result = CliRunner(env=variables).invoke(app, [part])
    first, second = result.stderr.splitlines()

    assert result.exit_code == 2
    assert first == "LOREKEEP_PROT is no setting and changes nothing: did you mean LOREKEEP_PORT?"
    assert second.startswith("LOREKEEP_PORT: ")
    assert "8123" not in result.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a memory whose record even root cannot read."""
    folder = tmp_path / "artifacts" / "default" / "memories" / memory_id()
    folder.mkdir(parents=True)
    (folder / "memory.json").symlink_to("/proc/self/mem")
    return tmp_path


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "registry.sock. No such file or directory): run `make up`.\n"),
        ({"LOREKEEP_REDIS_URL": "redis://127.0.0.1:1"}, "check LOREKEEP_REDIS_URL and LOREKEEP_REDIS_PASSWORD.\n"),
        ({"LOREKEEP_REDIS_URL": "foo"}, "check LOREKEEP_REDIS_URL and LOREKEEP_REDIS_PASSWORD.\n"),
    ],
)
def test_a_registry_that_is_away_is_not_waited_for(home: Path, variables: dict[str, str], said: str) -> None:
    result = CliRunner(env={"LOREKEEP_HOME": str(home), **variables}).invoke(app, ["registry", "rebuild"])

    assert result.exit_code == 2
    assert result.stderr.startswith("The registry does not answer (")
    assert result.stderr.endswith(said)
    assert result.stderr.count("\n") == 1


@pytest.mark.redis
def test_a_store_that_there_is_no_kind_of_is_named(home: Path, registry_url: str) -> None:
    code, stderr = rebuild(home, LOREKEEP_REDIS_URL=registry_url, LOREKEEP_ARTIFACTS="foo://x")

    assert (code, stderr) == (2, "LOREKEEP_ARTIFACTS is foo://x: Protocol not known: foo.\n")


@pytest.mark.redis
def test_a_store_that_cannot_be_read_ends_with_one(home: Path, registry_url: str) -> None:
    code, stderr = rebuild(home, LOREKEEP_REDIS_URL=registry_url)

    assert code == 1
    assert stderr.startswith("The artifact store does not work ([Errno ")
    assert stderr.count("\n") == 1


@pytest.mark.redis
def test_a_registry_that_refuses_ends_with_one(home: Path, registry_url: str) -> None:
    with Redis.from_url(registry_url) as registry:
        registry.acl_setuser("guest", enabled=True, passwords=["+word"], commands=["+ping", "+client"])
        try:
            code, stderr = rebuild(home, LOREKEEP_REDIS_URL=registry_url.replace("unix://", "unix://guest:word@"))
        finally:
            registry.acl_deluser("guest")

    assert code == 1
    assert stderr.startswith("The registry does not work (")
    assert stderr.count("\n") == 1
