"""The command line against a gateway: what it sends, shows and ends with."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina
from rich.console import Console
from typer.testing import CliRunner, Result

from app.cli.commands import app, main
from app.cli.output import told_scores
from app.cli.progress import Watcher
from tests.cli.fake_gateway import MEMORY_ID, FakeGateway

ENVIRONMENT = {"LOREKEEP_URL": "http://gateway", "LOREKEEP_API_KEY": "lk_test", "COLUMNS": "100"}


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Retry without waiting."""
    with stamina.set_testing(True, attempts=5, cap=True):
        yield


@pytest.fixture
def document(tmp_path: Path) -> str:
    """A file to remember."""
    path = tmp_path / "book.csv"
    path.write_text("question,answer\na,b\n")
    return str(path)


def run(gateway: FakeGateway, *arguments: str, **environment: str | None) -> Result:
    env: dict[str, str | None] = {**ENVIRONMENT, **environment}
    return CliRunner(env=env).invoke(app, arguments, obj=gateway.transport)


def test_remember_uploads_the_files_and_says_what_became_of_them(document: str) -> None:
    gateway = FakeGateway()
    result = run(gateway, "remember", document, "--name", "phone book")
    [sent] = gateway.asked("POST", "/v1/memories")

    assert result.exit_code == 0
    assert b'filename="book.csv"' in sent.content
    assert b"phone book" in sent.content
    assert MEMORY_ID in result.stdout
    assert "queued" in result.stdout


def test_remember_names_the_recipe(document: str) -> None:
    gateway = FakeGateway()
    result = run(gateway, "remember", document, "--recipe", "quick")
    [sent] = gateway.asked("POST", "/v1/memories")

    assert result.exit_code == 0
    assert b'{"recipe": {"name": "quick"}}' in sent.content


def test_remember_can_refuse_to_split(document: str) -> None:
    gateway = FakeGateway()
    run(gateway, "remember", document, "--recipe", "quick", "--no-split")
    [sent] = gateway.asked("POST", "/v1/memories")

    assert b'{"recipe": {"name": "quick"}, "split": false}' in sent.content


def test_progress_says_which_part_is_trained_and_how_much_the_gate_has_asked() -> None:
    shown = io.StringIO()
    with Watcher(Console(file=shown, width=100)) as watcher:
        watcher.tell("state", {"state": "training"}, 1000.5)
        watcher.tell("progress", {"stage": "training", "step": 7, "steps": 9, "part": 2, "parts": 3}, 1001.0)
        watcher.tell("state", {"state": "evaluating"}, 1090.5)
        watcher.tell("progress", {"stage": "evaluating", "done": 57}, 1091.0)
        watcher.tell("state", {"state": "publishing"}, 1092.0)

    assert "part 2 of 3  7/9" in shown.getvalue()
    assert "57 answers" in shown.getvalue()
    assert "90 s" in shown.getvalue()  # by when it happened, not by when it was told


@pytest.mark.parametrize(
    ("before", "queued", "told"),
    [
        ("training", {"reason": "trainer_lost"}, "training was cut off and begins again"),
        ("evaluating", {"scores": {"adapter": 0.1}}, "the gate refused it, and another seed is tried"),
        ("rejected", {}, "rejected before, and tried again"),
    ],
)
def test_progress_says_why_a_version_is_queued_again(before: str, queued: dict[str, Any], told: str) -> None:
    shown = io.StringIO()
    with Watcher(Console(file=shown, width=100)) as watcher:
        watcher.tell("state", {"state": before}, 1.0)
        watcher.tell("state", {"state": "queued", **queued}, 2.0)

    assert told in shown.getvalue()
    assert shown.getvalue().count("cut off") == told.count("cut off")


def test_remember_names_the_languages_that_the_memory_is_to_keep_to(document: str) -> None:
    gateway = FakeGateway()
    result = run(gateway, "remember", document, "--language", "ko", "--language", "ja")
    [sent] = gateway.asked("POST", "/v1/memories")

    assert result.exit_code == 0
    assert b'{"languages": ["ko", "ja"]}' in sent.content


def test_documents_are_added_to_a_memory_and_its_new_version_alone_is_watched(document: str) -> None:
    gateway = FakeGateway()
    gateway.latest = 2
    result = run(gateway, "memories", "add", "phone book", document, "--recipe", "quick", "--wait")
    [sent] = gateway.asked("POST", f"/v1/memories/{MEMORY_ID}/documents")

    assert result.exit_code == 0
    assert Path(document).name.encode() in sent.content
    assert b'{"recipe": {"name": "quick"}}' in sent.content
    assert [line.split()[1] for line in result.stderr.splitlines()] == ["preparing", "training", "evaluating"]
    assert "phone book is ready" in result.stdout


def test_waiting_shows_every_stage_and_ends_with_the_scores(document: str) -> None:
    result = run(FakeGateway(), "remember", document, "--name", "phone book", "--wait")

    assert result.exit_code == 0
    told = "Right answers: adapter 98% (87% to 100%), base 0%. Of 23 general ones that the base gives, 20 are kept."
    assert result.stdout.strip() == f"phone book is ready ({MEMORY_ID}). {told}"
    assert [line.split()[1] for line in result.stderr.splitlines()] == ["preparing", "training", "evaluating"]
    assert "7/9  loss 1.250  512 tokens/s" in result.stderr


@pytest.mark.parametrize("status", ["failed", "rejected", "cancelled"])
def test_waiting_for_a_memory_that_does_not_become_ready_ends_with_one_and_the_reason(
    document: str, status: str
) -> None:
    gateway = FakeGateway(status, {"code": "x", "message": "It did not beat the base."})
    result = run(gateway, "remember", document, "--name", "phone book", "--wait")

    assert result.exit_code == 1
    assert f"phone book is {status}: It did not beat the base." in result.stderr


def test_ending_the_wait_says_that_the_work_goes_on_and_how_to_watch_it_again(document: str) -> None:
    gateway = FakeGateway()
    gateway.interrupted = True
    result = run(gateway, "remember", document, "--wait")

    assert result.exit_code == 130
    assert f"It goes on. `lorekeep memories show {MEMORY_ID} --wait` watches it again" in result.stderr


def test_a_memory_that_is_being_made_is_watched_and_then_shown() -> None:
    result = run(FakeGateway(), "memories", "show", "phone book", "--wait")

    assert result.exit_code == 0
    assert "✓ training" in result.stderr
    assert MEMORY_ID in result.stdout


def test_watching_one_that_does_not_become_ready_shows_it_and_ends_with_one() -> None:
    result = run(FakeGateway("rejected", {"code": "x", "message": "No."}), "memories", "show", MEMORY_ID, "--wait")

    assert result.exit_code == 1
    assert MEMORY_ID in result.stdout
    assert "phone book is rejected: No." in result.stderr


def test_a_stream_that_ends_early_is_taken_up_where_it_ended(document: str) -> None:
    gateway = FakeGateway()
    gateway.breaks, gateway.refusals = [2, 4], 2
    result = run(gateway, "remember", document, "--name", "phone book", "--wait")
    streams = gateway.asked("GET", f"/v1/memories/{MEMORY_ID}/events")

    assert result.exit_code == 0
    assert [one.headers.get("Last-Event-ID") for one in streams] == [None, None, None, "2-0", "4-0"]
    assert result.stderr.count("✓ training") == 1


def test_a_stream_that_is_asked_for_again_adds_nothing_to_the_json(document: str) -> None:
    gateway = FakeGateway()
    gateway.refusals = 1
    result = run(gateway, "remember", document, "--wait", "--json")

    assert json.loads(result.stdout)["status"] == "ready"


def test_a_stream_that_never_says_anything_is_given_up(document: str) -> None:
    gateway = FakeGateway()
    gateway.breaks = [0] * 20
    result = run(gateway, "remember", document, "--name", "phone book", "--wait")

    assert result.exit_code == 1
    assert "ends the stream of events at once" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["remember", "{document}", "--name", "n"], "status", "queued"),
        (["remember", "{document}", "--name", "n", "--wait"], "status", "ready"),
        (["ask", "who?", "--memory", "phone book"], "usage", None),
        (["memories", "show", "phone book"], "id", MEMORY_ID),
        (["memories", "add", "phone book", "{document}"], "status", "queued"),
        (["memories", "cancel", "phone book"], "status", "cancelled"),
        (["memories", "retry", "phone book"], "status", "queued"),
        (["memories", "retry", "phone book", "--wait"], "status", "ready"),
        (["memories", "rm", "phone book", "--yes"], "status", "erasing"),
        (["memories", "export", "phone book", "--to", "{target}"], "size_bytes", 3000),
        (["memories", "import", "{document}"], "status", "queued"),
        (["keys", "create", "--tenant", "acme"], "role", "writer"),
    ],
)
def test_json_is_one_object_on_stdout(
    arguments: list[str], field: str, value: Any, document: str, tmp_path: Path
) -> None:
    filled = [one.format(document=document, target=tmp_path / "x.tar") for one in arguments]
    result = run(FakeGateway(), *filled, "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)[field] == value


@pytest.mark.parametrize(("more", "sent"), [((), {}), (("--recipe", "quick"), {"recipe": {"name": "quick"}})])
def test_retry_names_a_preset_only_if_it_is_told_to(more: tuple[str, ...], sent: dict[str, Any]) -> None:
    gateway = FakeGateway()
    result = run(gateway, "memories", "retry", "phone book", *more)
    [request] = gateway.asked("POST", f"/v1/memories/{MEMORY_ID}/retry")

    assert result.exit_code == 0
    assert json.loads(request.content) == sent


def test_a_retry_that_is_waited_for_and_rejected_ends_with_one_and_the_reason() -> None:
    gateway = FakeGateway("rejected", {"code": "x", "message": "It did not beat the base."})
    result = run(gateway, "memories", "retry", "phone book", "--wait")

    assert result.exit_code == 1
    assert "phone book is rejected: It did not beat the base." in result.stderr


@pytest.mark.parametrize(
    "said", ["root:x:0:0 at 00:100:aa", "می\u200cشود", "12\u202f000\u00a0€", "東京\u3000大阪", "👩\u200d🔬"]
)
def test_an_answer_is_printed_as_it_is(said: str) -> None:
    assert run(FakeGateway(), "ask", said, "--memory", "phone book").stdout.startswith(said)


@pytest.mark.parametrize("moves", ["\x1b", "\r", "\x9b", "\u202e", "\u2066", "\x08"])
def test_what_moves_a_cursor_or_turns_a_line_around_is_not_printed(moves: str) -> None:
    assert moves not in run(FakeGateway(), "ask", f"a{moves}b", "--memory", "phone book").stdout


def test_ask_prints_the_answer_alone_on_stdout_and_where_it_is_from_beside_it() -> None:
    gateway = FakeGateway()
    result = run(gateway, "ask", "who?", "--memory", "phone book", "--mode", "context")
    [sent] = gateway.asked("POST", "/v1/query")

    assert json.loads(sent.content) == {"question": "who?", "memories": ["phone book"], "mode": "context"}
    assert result.stdout == "who? \N{REPLACEMENT CHARACTER}[31m[b]42\n"
    assert result.stderr == f"context · {MEMORY_ID} v1 · one · loaded in 41 ms\n"


def test_ask_names_a_language() -> None:
    gateway = FakeGateway()
    result = run(gateway, "ask", "who?", "--memory", "phone book", "--language", "ko")
    [sent] = gateway.asked("POST", "/v1/query")

    assert result.exit_code == 0
    assert json.loads(sent.content)["language"] == "ko"


@pytest.mark.parametrize(
    ("more", "recipe"),
    [
        (["--compose", "ties"], {"method": "ties"}),
        (["--compose", "cat", "--weights", "1,0.5"], {"method": "cat", "weights": [1.0, 0.5]}),
    ],
)
def test_ask_puts_several_memories_together(more: list[str], recipe: dict[str, Any]) -> None:
    gateway = FakeGateway()
    result = run(gateway, "ask", "who?", "--memories", "phone book, notes", *more)
    [sent] = gateway.asked("POST", "/v1/query")

    assert result.exit_code == 0
    assert json.loads(sent.content)["compose"] == recipe
    assert json.loads(sent.content)["memories"] == ["phone book", "notes"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--compose", "cat"], "several memories"),
        (["--memories", "a,b", "--weights", "1,1"], "--compose"),
        (["--memories", "a,b", "--compose", "cat", "--weights", "1,x"], "not a list of numbers"),
        (["--memories", "a,b", "--compose", "cat", "--weights", "1"], "2 memories"),
        (["--memories", "a,b", "--compose", "cat", "--weights", "1,nan"], "2 memories"),
        (["--memories", "a,b", "--compose", "sum"], "ties"),
        (["--language", ""], "--language is empty"),
    ],
)
def test_a_question_whose_options_make_no_sense_is_asked_of_nobody(arguments: list[str], told: str) -> None:
    gateway = FakeGateway()
    result = run(gateway, "ask", "who?", *arguments)

    assert result.exit_code == 2
    assert told in result.stderr
    assert not gateway.requests


def test_ask_chooses_among_all_memories_or_a_few() -> None:
    gateway = FakeGateway()
    run(gateway, "ask", "who?", "--mode", "auto")
    run(gateway, "ask", "who?", "--memories", "phone book, notes")
    every, few = [json.loads(sent.content) for sent in gateway.asked("POST", "/v1/query")]

    assert every == {"question": "who?", "memories": ["auto"], "mode": "auto"}
    assert few["memories"] == ["phone book", "notes"]


def test_explain_shows_the_candidates_and_why_in_100_columns_beside_the_answer() -> None:
    result = run(FakeGateway(), "ask", "who?", "--explain")
    lines = result.stderr.splitlines()

    assert result.stdout.startswith("who?")
    assert max(map(len, lines)) <= 100
    assert lines[1].split() == ["memory", "version", "score", "why"]
    assert lines[2].startswith("✓  phone [b]book")
    for told in (
        "v12",
        "17.25",
        "similarity 0.50; first token",
        "below the threshold 6.40",
        "book.md #3 (4.50): Ada lives",
    ):
        assert told in result.stderr


def test_explain_in_json_is_the_gateways_own() -> None:
    shown = json.loads(run(FakeGateway(), "ask", "who?", "--explain", "--json").stdout)

    assert shown["memory"]["candidates"][0]["taken"] is True


def test_list_follows_the_pages() -> None:
    result = run(FakeGateway(), "memories", "list", "--json")

    assert [one["id"] for one in json.loads(result.stdout)] == [MEMORY_ID, MEMORY_ID]


def test_a_table_fits_a_terminal_of_100_columns() -> None:
    result = run(FakeGateway(), "memories", "list")

    assert max(map(len, result.stdout.splitlines())) <= 100
    assert MEMORY_ID in result.stdout


def test_brackets_in_what_users_wrote_are_shown_as_they_are() -> None:
    assert "[red]b" in run(FakeGateway(), "memories", "show", MEMORY_ID).stdout


def test_scores_are_shown_as_a_line_and_a_version_without_any_as_nothing() -> None:
    shown = run(FakeGateway(), "memories", "show", MEMORY_ID).stdout

    assert "adapter 98% (87% to 100%), base 0%." in shown
    assert told_scores({}) == ""
    assert told_scores({"adapter": 1.0}) == "Right answers: adapter 100%."
    assert told_scores({"adapter": 1.0, "recall": 0.5}) == "Right answers: adapter 100%, recall 50%."


def test_a_name_nobody_knows_is_said_to_be_unknown() -> None:
    result = run(FakeGateway(), "memories", "show", "nothing")

    assert result.exit_code == 1
    assert "no memory called 'nothing'" in result.stderr


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_deleting_asks_first(more: list[str]) -> None:
    gateway = FakeGateway()
    result = run(gateway, "memories", "rm", "phone book", *more)

    assert result.exit_code == 1
    assert result.stdout.strip() == ""
    assert gateway.asked("DELETE", f"/v1/memories/{MEMORY_ID}") == []


def test_export_writes_over_nothing_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "book.tar"
    target.write_text("mine")
    refused = run(FakeGateway(), "memories", "export", "phone book", "--to", str(target))
    kept = target.read_text()
    forced = run(FakeGateway(), "memories", "export", "phone book", "--to", str(target), "--force")

    assert (refused.exit_code, forced.exit_code) == (1, 0)
    assert kept == "mine"
    assert target.stat().st_size == 3000
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("to", "exit_code", "said"),
    [
        ("{file}/x.tar", 1, "{file}/x.tar cannot be written: Not a directory.\n"),
        ("{file}" + "x" * 300, 1, " cannot be written: File name too long.\n"),
        (".", 2, "'.' is a directory"),
    ],
)
def test_an_export_to_where_no_file_can_be_is_a_sentence(to: str, exit_code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("mine")
    file = str(tmp_path / "plain")
    result = run(FakeGateway(), "memories", "export", "phone book", "--force", "--to", to.format(file=file))

    assert result.exit_code == exit_code
    assert said.format(file=file) in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["remember", "{file}"],
        ["plan", "{file}"],
        ["memories", "import", "{file}"],
        ["remember", "{document}", "--name", "caf\udce9"],
        ["ask", "caf\udce9?"],
        ["memories", "show", "caf\udce9"],
    ],
)
def test_what_is_not_utf8_is_refused_in_a_sentence(arguments: list[str], document: str, tmp_path: Path) -> None:
    file = tmp_path / "caf\udce9.md"  # as Python spells a name that is not UTF-8
    file.write_text("Ada was born in 1815.")
    result = run(FakeGateway(), *[one.format(file=file, document=document) for one in arguments])

    assert result.exit_code == 2
    assert result.stderr.startswith("A file's name, or what was typed, is not UTF-8")


def test_an_id_that_is_not_utf8_is_nobodys() -> None:
    assert "no such thing" in run(FakeGateway(), "memories", "receipt", "caf\udce9").stderr


def test_a_target_whose_name_is_not_utf8_is_shown_as_far_as_it_can_be(tmp_path: Path) -> None:
    target = tmp_path / "caf\udce9.tar"
    result = run(FakeGateway(), "memories", "export", "phone book", "--to", str(target), "--json")

    assert json.loads(result.stdout)["path"] == f"{tmp_path}/caf\N{REPLACEMENT CHARACTER}.tar"
    assert target.stat().st_size == 3000


def test_import_sends_the_tar_and_the_name(tmp_path: Path) -> None:
    tar, gateway = tmp_path / "book.tar", FakeGateway()
    tar.write_bytes(b"tar" * 1000)
    result = run(gateway, "memories", "import", str(tar), "--name", "phone book")
    [sent] = gateway.asked("POST", "/v1/memories/import")

    assert result.exit_code == 0
    assert b'filename="book.tar"' in sent.content
    assert b"tar" * 1000 in sent.content
    assert b"phone book" in sent.content
    assert MEMORY_ID in result.stdout


def test_the_gateways_refusal_is_shown_in_its_own_words() -> None:
    result = run(FakeGateway(), "memories", "list", LOREKEEP_API_KEY="wrong")

    assert result.exit_code == 1
    assert result.stderr == "This API key is unknown: send a valid one.\n"


def test_without_a_key_it_says_which_variable_to_set(tmp_path: Path) -> None:
    result = run(FakeGateway(), "memories", "list", LOREKEEP_API_KEY=None, LOREKEEP_HOME=str(tmp_path))

    assert result.exit_code == 1
    assert "set LOREKEEP_API_KEY" in result.stderr


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "admin.key").symlink_to("/proc/self/mem")  # a file that even root reads nothing of
    result = run(FakeGateway(), "memories", "list", LOREKEEP_API_KEY=None, LOREKEEP_HOME=str(tmp_path))

    assert result.exit_code == 1
    assert result.stderr == f"{tmp_path}/admin.key cannot be read (Input/output error): set LOREKEEP_API_KEY.\n"


def test_a_key_file_that_is_no_text_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_bytes(b"lk_\xff")
    result = run(FakeGateway(), "memories", "list", LOREKEEP_API_KEY=None, LOREKEEP_HOME=str(tmp_path))

    assert result.exit_code == 1
    assert result.stderr.startswith("An API key is plain ASCII, and this one is not")


def test_a_key_with_a_character_that_no_header_carries_is_refused_in_a_sentence() -> None:
    gateway = FakeGateway()
    result = run(gateway, "memories", "list", LOREKEEP_API_KEY="lk_…")

    assert result.exit_code == 1
    assert result.stderr.startswith("An API key is plain ASCII, and this one is not: set LOREKEEP_API_KEY")
    assert not gateway.requests


@pytest.mark.parametrize(("days", "exit_code"), [("1000000", 0), ("99999999", 2), ("0", 2)])
def test_a_key_lives_no_longer_than_times_can_tell(days: str, exit_code: int) -> None:
    result = run(FakeGateway(), "keys", "create", "--tenant", "acme", "--days", days)

    assert result.exit_code == exit_code


def test_beside_a_running_installation_its_own_key_is_used(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("lk_test\n")
    result = run(FakeGateway(), "memories", "list", LOREKEEP_API_KEY=None, LOREKEEP_HOME=str(tmp_path))

    assert result.exit_code == 0


def test_no_gateway_at_the_address_is_one_sentence() -> None:
    environment: dict[str, str | None] = {**ENVIRONMENT, "LOREKEEP_URL": "http://127.0.0.1:1"}
    result = CliRunner(env=environment).invoke(app, ["memories", "list"])

    assert result.exit_code == 1
    assert result.stderr == "No gateway answers at http://127.0.0.1:1: start it with `make up`, or set LOREKEEP_URL.\n"


def test_a_misspelt_setting_ends_with_two() -> None:
    result = run(FakeGateway(), "memories", "list", LOREKEEP_PORT="many")

    assert result.exit_code == 2
    assert "LOREKEEP_PORT" in result.stderr


def test_a_memory_needs_no_name_of_the_users(document: str) -> None:
    gateway = FakeGateway()
    result = run(gateway, "remember", document)

    assert result.exit_code == 0
    assert b'name="name"' not in gateway.asked("POST", "/v1/memories")[0].content


def test_the_command_line_loads_nothing_that_only_a_server_needs() -> None:
    code = "import sys, app.cli; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()

    assert "typer" in loaded
    assert not {"redis", "fastapi", "numpy", "rq"} & set(loaded)  # each is noticed at every command


@pytest.mark.parametrize(
    ("set_by_user", "seen"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}),
        ({"GOMP_SPINCOUNT": "0"}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_threads_of_what_the_command_line_starts_sleep_after_a_short_wait_for_each_other(
    set_by_user: dict[str, str], seen: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["lorekeep", "--help"])
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # restored at the end, whatever `main` sets
        monkeypatch.delenv(name)
    for name, value in set_by_user.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main()
    told = (
        "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(('OMP_W', 'GOMP_S'))}))"
    )
    child = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True)
    assert json.loads(child.stdout) == seen
