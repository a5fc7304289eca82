"""Settings come from the environment and from a `.env` that other programs may use as well."""

from pathlib import Path

import pytest

from app.cli.gateway import whereabouts
from app.errors import StartupError
from app.settings import Settings, load_settings, misspelt, url_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: a `.env` is looked for there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_names_of_other_programs_in_a_dotenv_file_are_left_alone(folder: Path) -> None:
    (folder / ".env").write_text("OPENAI_API_KEY=x\nLOREKEEP_PORT=8123\n")

    assert load_settings().port == 8123


def test_a_misspelt_name_in_a_dotenv_file_is_named(folder: Path) -> None:
    (folder / ".env").write_text("LOREKEEP_PROT=8123\n")

    with pytest.raises(StartupError, match="LOREKEEP_PROT"):
        load_settings()


def test_a_dotenv_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / ".env").write_bytes("LOREKEEP_TENANT=café\n".encode("latin-1"))
    with pytest.raises(StartupError, match=r"\.env is not UTF-8"):
        load_settings()

    (folder / ".env").unlink()
    (folder / ".env").symlink_to("/proc/self/mem")  # a file that even root reads nothing of
    with pytest.raises(StartupError, match=r"\.env cannot be read \(Input/output error\)"):
        load_settings()


def test_what_the_command_line_and_docker_compose_read_may_stand_in_a_dotenv_file(folder: Path) -> None:
    lines = ("URL=http://far:8000", "API_KEY=lk_x", "PUBLISH=0.0.0.0:80", "GPUS=all")
    (folder / ".env").write_text("".join(f"LOREKEEP_{line}\n" for line in lines))
    url, headers = whereabouts()

    assert (url, headers) == ("http://far:8000", {"Authorization": "Bearer lk_x"})


@pytest.mark.parametrize("given", ["45", "45s", "45.0 s", "PT45S", "00:00:45"])
def test_a_duration_may_be_written_in_plain_seconds(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("LOREKEEP_JOB_LEASE", given)

    assert load_settings().job_lease.total_seconds() == 45


@pytest.mark.parametrize("given", ["-45", "45 min", "soon"])
def test_what_is_no_duration_is_named(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("LOREKEEP_JOB_LEASE", given)

    with pytest.raises(StartupError, match="LOREKEEP_JOB_LEASE"):
        load_settings()


def test_a_rank_comes_from_the_environment_as_any_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOREKEEP_MAX_LORA_RANK", "32")

    assert load_settings().max_lora_rank == 32


@pytest.mark.parametrize("rank", ["24", "many"])
def test_a_rank_that_engines_do_not_have_is_named(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    monkeypatch.setenv("LOREKEEP_MAX_LORA_RANK", rank)

    with pytest.raises(StartupError, match="LOREKEEP_MAX_LORA_RANK"):
        load_settings()


def test_an_engine_on_an_ipv6_address_has_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOREKEEP_ENGINE_HOST", "::1")

    assert load_settings().this_engine_url == "http://[::1]:8100"


@pytest.mark.parametrize(
    ("host", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("fd00::7", "[fd00::7]"), ("10.0.0.7", "10.0.0.7"), ("here", "here")],
)
def test_what_listens_on_every_address_is_asked_on_this_machines_own(host: str, asked: str) -> None:
    assert url_of(host, 8000) == f"http://{asked}:8000"


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("LOREKEEP_PROT", "did you mean LOREKEEP_PORT?"),
        ("LOREKEEP_BASEMODEL", "did you mean LOREKEEP_BASE_MODEL?"),
        ("lorekeep_max_lora", "did you mean LOREKEEP_MAX_LORAS?"),
        ("LOREKEEP_", "docs/operations.md has those there are."),
        ("LOREKEEP_QUXX", "docs/operations.md has those there are."),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_one_it_may_mean(variable: str, hint: str) -> None:
    assert misspelt(["LOREKEEP_HOST", variable]) == [f"{variable} is no setting and changes nothing: {hint}"]


def test_settings_in_either_case_and_what_is_not_lorekeeps_are_passed_over() -> None:
    settings = [f"{prefix}{name}" for prefix in ("lorekeep_", "LOREKEEP_") for name in Settings.model_fields]

    assert misspelt([*settings, "LOREKEEP_TEST_DATA", "PORT", "PROT", "LOREKEEPER_PROT", ""]) == []
