"""`plan` and `calibrate`: what they ask, show and end with."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from app.cli.commands import app
from app.cli.plans import follow
from app.core.capacity import conditions_of
from app.core.recipe import Recipe
from app.stores.bases import BaseStore
from app.stores.redis import Registry
from tests.cli.fake_gateway import PLAN, FakeGateway
from tests.cli.test_commands import document, run
from tests.trainer.tiny import byte_tokenizer, llama

__all__ = ["document"]
POINT = {"rank": 2, "parameters": 380160, "facts": 24, "tokens": 500, "recalled": 18}
TOLD: list[dict[str, Any]] = [
    {"kind": "sweep", "base": "tiny", "kept": 1, "points": 3},
    {"kind": "step", "rank": 2, "facts": 24, "step": 7, "steps": 120, "loss": 1.5},
    {"kind": "point", "point": POINT, "tokens_per_s": 1400.4},
    {"kind": "over", "left": 2, "why": "the time is over"},
    {"kind": "law", "law": {"power": 0.5}, "points": [POINT]},
]


def test_a_plan_is_asked_for_with_the_files_and_shown_in_a_few_lines(document: str) -> None:
    gateway = FakeGateway()
    result = run(gateway, "plan", document, "--target-recall", "0.9")
    [sent] = gateway.asked("POST", "/v1/plans")

    assert result.exit_code == 0
    assert b'filename="book.csv"' in sent.content
    assert b'{"target_recall": 0.9}' in sent.content
    assert max(map(len, result.stdout.splitlines())) <= 100
    for told in ("193 facts in 4,053 tokens", "rank 16", "3,041,280 parameters", "6.1 MB", "1,000 steps", "5 min",
                 "0.97 (0.90 to 0.99), calibrated", "5,200 tokens"):  # fmt: skip
        assert told in result.stdout


def test_a_plan_is_asked_for_as_a_memory_would_be(document: str) -> None:
    gateway = FakeGateway()
    run(gateway, "plan", document, "--recipe", "quick", "--no-split")
    [sent] = gateway.asked("POST", "/v1/plans")

    assert b'{"target_recall": 0.95, "recipe": {"name": "quick"}, "split": false}' in sent.content


def test_a_plan_may_be_asked_for_at_a_rank_and_in_other_layers(document: str) -> None:
    gateway = FakeGateway()
    run(gateway, "plan", document, "--rank", "32", "--target", "attention")
    [sent] = gateway.asked("POST", "/v1/plans")

    assert b'{"target_recall": 0.95, "recipe": {"rank": 32, "target": "attention"}}' in sent.content


def test_a_plan_says_that_a_memory_will_have_parts(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLAN, "partitions", 3)

    assert "3: one cannot hold all" in " ".join(run(FakeGateway(), "plan", document).stdout.split())


def test_a_plan_in_json_is_the_gateways_own(document: str) -> None:
    assert json.loads(run(FakeGateway(), "plan", document, "--json").stdout) == PLAN


def test_a_target_that_is_no_share_ends_with_two(document: str) -> None:
    assert run(FakeGateway(), "plan", document, "--target-recall", "95").exit_code == 2


def test_a_calibration_is_followed_to_its_law() -> None:
    shown = io.StringIO()
    result = follow((json.dumps(one) for one in TOLD), Console(file=shown, width=100))
    lines = shown.getvalue().splitlines()

    assert result == {"law": {"power": 0.5}, "points": [POINT]}
    assert lines == [
        "1 of 3 are measured already",
        "✓ rank 2, 24 facts in 500 tokens: recall 0.75 1400 tokens/s",
        "✗ 2 not measured: the time is over",
    ]


@pytest.mark.parametrize("arguments", [["--ranks", "1,x"], ["--loads", ""], ["--ranks", "0"], ["--minutes", "0"]])
def test_a_sweep_of_nonsense_ends_with_two(arguments: list[str]) -> None:
    result = run(FakeGateway(), "calibrate", *arguments)

    assert result.exit_code == 2
    assert arguments[0] in result.stderr


@pytest.mark.redis
async def test_calibrate_measures_in_the_trainers_environment_and_keeps_the_law(
    redis: Registry, registry_url: str, tmp_path: Path
) -> None:
    llama().save_pretrained(tmp_path / "tiny")
    byte_tokenizer().save_pretrained(tmp_path / "tiny")
    env = {"LOREKEEP_HOME": str(tmp_path), "LOREKEEP_REDIS_URL": registry_url, "COLUMNS": "100"}
    env |= {"LOREKEEP_BASE_MODEL": str(tmp_path / "tiny"), "LOREKEEP_DEVICE": "cpu", "LOREKEEP_DTYPE": "float32"}
    env |= {"LOREKEEP_TRAINER_THREADS": "1"}
    table = CliRunner(env=env).invoke(app, ["calibrate", "--minutes", "5", "--ranks", "2,4", "--loads", "2"])
    base = await BaseStore(redis).current()

    assert table.exit_code == 0, table.output
    header, *rows = [line.split() for line in table.stdout.splitlines()[:3]]
    assert header == ["rank", "2", "facts", "tokens", "at", "0.95"]
    assert [row[0] for row in rows] == ["2", "4"]
    assert base
    assert base.law
    assert base.law.conditions == conditions_of(Recipe())
    assert base.law.points == 2


def test_a_calibration_of_a_model_that_is_not_there_ends_with_two_and_says_what_to_set(tmp_path: Path) -> None:
    env = {"LOREKEEP_HOME": str(tmp_path), "LOREKEEP_BASE_MODEL": str(tmp_path / "none")}
    result = CliRunner(env=env).invoke(app, ["calibrate"])

    assert result.exit_code == 2
    assert "LOREKEEP_BASE_MODEL" in result.stderr
