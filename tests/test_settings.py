"""Settings come from the environment and from a `.env` that other programs may use as well."""

from pathlib import Path

import pytest

from app.errors import StartupError
from app.settings import load_settings


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


def test_a_rank_comes_from_the_environment_as_any_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOREKEEP_MAX_LORA_RANK", "32")

    assert load_settings().max_lora_rank == 32


@pytest.mark.parametrize("rank", ["24", "many"])
def test_a_rank_that_engines_do_not_have_is_named(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    monkeypatch.setenv("LOREKEEP_MAX_LORA_RANK", rank)

    with pytest.raises(StartupError, match="LOREKEEP_MAX_LORA_RANK"):
        load_settings()
