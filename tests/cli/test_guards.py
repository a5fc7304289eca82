"""`language train` and its neighbours: what they ask, show and end with."""

import json
from pathlib import Path

import pytest

from tests.cli.fake_gateway import GUARD_ID, MEMORY_ID, FakeGateway
from tests.cli.test_commands import run


def test_training_sends_the_wish_and_says_what_became_of_it(tmp_path: Path) -> None:
    gateway, prompts = FakeGateway(), tmp_path / "prompts.txt"
    prompts.write_text("하나?\n\n둘?\n")
    more = ("--strict", "--prompts", str(prompts), "--memory", "phone book", "--name", "mine")
    result = run(gateway, "language", "train", "--language", "ko", *more)
    [sent] = gateway.asked("POST", "/v1/languages")

    assert result.exit_code == 0
    assert json.loads(sent.content) == {
        "language": "ko",
        "recipe": {"strict": True},
        "name": "mine",
        "prompts": ["하나?", "둘?"],
        "memory": MEMORY_ID,
    }
    assert GUARD_ID in result.stdout


def test_fields_of_the_recipe_are_sent_as_they_are() -> None:
    gateway = FakeGateway()
    result = run(gateway, "language", "train", "--language", "ru", "--recipe", '{"answers": 1536, "strict": true}')
    [sent] = gateway.asked("POST", "/v1/languages")

    assert result.exit_code == 0
    assert json.loads(sent.content)["recipe"] == {"answers": 1536, "strict": True}


@pytest.mark.parametrize(
    "recipe",
    ["wide", "[1]", "{", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', f'{{"a": {"[" * 9999}{"]" * 9999}}}'],
)
def test_a_recipe_that_is_no_object_is_refused_before_anything_is_sent(recipe: str) -> None:
    gateway = FakeGateway()
    result = run(gateway, "language", "train", "--language", "ru", "--recipe", recipe)

    assert result.exit_code == 2
    assert "--recipe must be a JSON object" in result.stderr


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--name", ""], "--name is empty"),
        (["--memory", ""], "--memory is empty"),
        (["--strict", "--recipe", '{"strict": false}'], "contradict each other"),
    ],
)
def test_options_that_say_nothing_or_contradict_each_other_are_refused(more: list[str], text: str) -> None:
    gateway = FakeGateway()
    result = run(gateway, "language", "train", "--language", "ko", *more)

    assert result.exit_code == 2
    assert text in result.stderr
    assert not gateway.requests


@pytest.mark.parametrize(
    ("name", "text"), [("own.jsonl", '{"prompt": "하나?"}\n{"prompt": "둘?"}\n'), ("own.csv", "prompt\n하나?\n둘?\n")]
)
def test_prompts_in_a_table_are_sent_as_what_they_say(tmp_path: Path, name: str, text: str) -> None:
    gateway, prompts = FakeGateway(), tmp_path / name
    prompts.write_text(text)
    result = run(gateway, "language", "train", "--language", "ko", "--prompts", str(prompts))
    [sent] = gateway.asked("POST", "/v1/languages")

    assert result.exit_code == 0
    assert json.loads(sent.content)["prompts"] == ["하나?", "둘?"]


def test_a_file_that_holds_no_prompts_is_refused_in_a_sentence(tmp_path: Path) -> None:
    gateway, prompts = FakeGateway(), tmp_path / "own.jsonl"
    prompts.write_text("[1]\n")
    result = run(gateway, "language", "train", "--language", "ko", "--prompts", str(prompts))

    assert result.exit_code != 0
    assert "Line 1 of 'own.jsonl' has no text under `prompt`" in result.stderr
    assert not gateway.requests


def test_waiting_ends_with_the_rates_before_and_after() -> None:
    result = run(FakeGateway(), "language", "train", "--language", "ko", "--wait")

    assert result.exit_code == 0
    assert "keeps to ko in 75% of its answers, and the model without it in 50%" in result.stdout


def test_waiting_ends_with_what_a_compressed_sum_lost() -> None:
    gateway = FakeGateway()
    gateway.lost = 0.125
    said = run(gateway, "language", "train", "--language", "ko", "--memory", "phone book", "--wait").stdout

    assert "its sum with the memory lost 12.5%: see LOREKEEP_MAX_LORA_RANK." in said


def test_a_guard_that_is_rejected_ends_with_its_reason() -> None:
    gateway = FakeGateway("rejected", {"code": "gate_failed", "message": "It answers nothing."})
    result = run(gateway, "language", "train", "--language", "ko", "--wait")

    assert result.exit_code == 1
    assert "It answers nothing." in result.stderr


def test_a_guards_training_is_cancelled() -> None:
    gateway = FakeGateway()
    result = run(gateway, "language", "cancel", GUARD_ID, "--json")

    assert json.loads(result.stdout)["status"] == "cancelled"
    assert gateway.asked("POST", f"/v1/languages/{GUARD_ID}/cancel")


def test_a_guard_that_is_tried_again_and_waited_for_ends_with_its_rates() -> None:
    gateway = FakeGateway()
    result = run(gateway, "language", "retry", GUARD_ID, "--wait")

    assert result.exit_code == 0
    assert gateway.asked("POST", f"/v1/languages/{GUARD_ID}/retry")
    assert "keeps to ko in 75% of its answers" in result.stdout


def test_a_guard_that_is_being_trained_is_watched_again_after_ctrl_c() -> None:
    gateway = FakeGateway()
    gateway.interrupted = True
    ended = run(gateway, "language", "train", "--language", "ko", "--wait")
    gateway.interrupted = False
    watched = run(gateway, "language", "show", GUARD_ID, "--wait", "--json")

    assert f"`lorekeep language show {GUARD_ID} --wait` watches it again" in ended.stderr
    assert json.loads(watched.stdout)["status"] == "ready"
    assert "✓ training" in watched.stderr


def test_guards_are_listed_shown_and_deleted() -> None:
    gateway = FakeGateway()

    assert {GUARD_ID, MEMORY_ID} <= set(run(gateway, "language", "list").stdout.split())  # whole, to be copied
    assert json.loads(run(gateway, "language", "show", GUARD_ID, "--json").stdout)["strict"] is True
    assert run(gateway, "language", "rm", GUARD_ID).exit_code == 0
    assert gateway.asked("DELETE", f"/v1/languages/{GUARD_ID}")


def test_in_a_pipe_no_row_is_folded() -> None:
    listed = run(FakeGateway(), "language", "list", COLUMNS=None).stdout

    assert [line.split()[-2:] for line in listed.splitlines()[1:]] == [[MEMORY_ID, "ready"]]


def test_a_deletion_says_how_to_get_the_guards_receipt() -> None:
    gateway = FakeGateway()
    said = run(gateway, "language", "rm", GUARD_ID).stderr
    run(gateway, *said.split("`")[1].split()[1:])

    assert said == f"`lorekeep memories receipt {GUARD_ID}` says what was erased.\n"
    assert gateway.asked("GET", f"/v1/memories/{GUARD_ID}/receipt")
    assert run(gateway, "language", "rm", GUARD_ID, "--json").stderr == ""
