"""`language check` and `language score`: what they show and end with, with no gateway."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.commands import app
from tests.languages.lcb import LCB, PUBLISHED, needs_lcb

TEXT = "오늘은 weather 가 좋다. 아주 привет 좋다."
ROW = "monolingual,okapi,ko,"


def run(*arguments: str, text: str | bytes = "") -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, ["language", *arguments], input=text)


def outputs(folder: Path, *rows: str) -> str:
    path = folder / "outputs.csv"
    path.write_text("\n".join(["task,source,language,completion", *rows, ""]), encoding="utf-8")
    return str(path)


def test_a_check_marks_where_the_text_leaves_its_language() -> None:
    result = run("check", TEXT, "--language", "ko", "--strict")

    assert result.exit_code == 0
    assert "오늘은 ⟦weather⟧ 가 좋다. 아주 ⟦привет⟧ 좋다." in result.stdout
    assert ["4", "11", "latin", "word", "weather"] in [line.split() for line in result.stdout.splitlines()]
    assert "It leaves ko 2 times (strict)" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_a_check_reads_stdin_and_ignores_english_unless_told() -> None:
    result = run("check", "-", "--language", "ko", "--json", text=TEXT)
    told = json.loads(result.stdout)

    assert (told["clean"], [one["text"] for one in told["confusions"]]) == (False, ["привет"])


def test_a_clean_text_is_said_to_be() -> None:
    result = run("check", "오늘은 날씨가 좋다.", "--language", "ko")

    assert result.stdout == "It keeps to ko (English ignored), 100% of the letters are its own.\n"


def test_a_text_cannot_move_the_terminals_cursor() -> None:
    assert "\x1b" not in run("check", "안녕 \x1b[2Jпривет\x1b[0m", "--language", "ko").stdout


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        (["check", "a", "--language", "xx"], "", "'xx' is not known"),
        (["check", "-", "--language", "ko"], b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_check_that_cannot_be_made_ends_with_two(arguments: list[str], text: str | bytes, said: str) -> None:
    result = run(*arguments, text=text)

    assert (result.exit_code, said in result.stderr) == (2, True)


def test_scores_are_per_task_and_language_in_per_cent(tmp_path: Path) -> None:
    rows = [f"{ROW}오늘은 날씨가 아주 정말 참 좋습니다", f"{ROW}We do not know what it is about"]
    told = json.loads(run("score", outputs(tmp_path, *rows), "--json").stdout)
    table = run("score", outputs(tmp_path, *rows)).stdout

    assert (told["monolingual"]["lpr"], told["monolingual"]["wpr"], told["monolingual"]["answers"]) == (50, 100, 2)
    assert told["monolingual"]["languages"]["ko"]["lpr"] == 50
    assert ["monolingual", "all", "50.00", "100.00", "66.67", "2", "2"] in [line.split() for line in table.splitlines()]


def test_a_word_list_can_be_given(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("weather\n")
    path = outputs(tmp_path, f"{ROW}오늘은 weather 가 아주 정말 참 좋습니다")

    assert json.loads(run("score", path, "--words", str(words), "--json").stdout)["monolingual"]["wpr"] == 0


@pytest.mark.parametrize(
    "content", [b"", b"task,source,language\na,b,c\n", b"\xff\xfe\x00", b"task,source,language,completion\n"]
)
def test_a_file_that_holds_no_outputs_ends_with_two(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "outputs.csv"
    path.write_bytes(content)
    result = run("score", str(path))

    assert result.exit_code == 2
    assert "outputs.csv" in result.stderr


@pytest.mark.parametrize("row", ["monolingual", "monolingual,okapi", "monolingual,okapi,ko"])
def test_a_row_that_is_cut_off_is_named(tmp_path: Path, row: str) -> None:
    result = run("score", outputs(tmp_path, f'{ROW}"오늘은\n날씨가"', row))

    assert result.exit_code == 2
    assert "The row that ends on line 4 of outputs.csv has no" in result.stderr


def test_a_word_list_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_bytes("café\n".encode("latin1"))
    result = run("score", outputs(tmp_path, f"{ROW}오늘은"), "--words", str(words))

    assert result.exit_code == 2
    assert "words.txt is not UTF-8 text" in result.stderr


@needs_lcb
def test_the_benchmarks_own_files_score_as_published() -> None:
    file = "outputs_gpt-4-turbo.csv"
    told = json.loads(run("score", str(LCB / file), "--json").stdout)

    for task, (lpr, wpr) in PUBLISHED[file].items():
        assert [told[task]["lpr"], told[task]["wpr"]] == pytest.approx([lpr, wpr], abs=0.1)
