"""Commands about languages: where a text leaves its own, and how often a model's answers do.

They need no gateway; those about language guards are in `app.cli.guards`.
"""

import csv
import json as jsonlib
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track
from rich.table import Table
from rich.text import Text

from app.cli.output import Json, err, out, printable
from app.core.errors import InvalidValue
from app.languages.benchmark import Judged, Output, Rates, judge, summarise
from app.languages.policies import policy_for
from app.languages.report import Report
from app.languages.report import check as check_language
from app.languages.words import english_words

languages = typer.Typer(
    no_args_is_help=True,
    help="Check and score the language of texts; train, list, cancel, retry and delete language guards.",
)
_COLUMNS = ("task", "source", "language", "completion")
_WORDS = "english_words.txt"  # the benchmark's own list, beside its outputs


@languages.command("check")
def check(
    language: Annotated[str, typer.Option(help="The language it should be in, such as ko.")],
    text: Annotated[str, typer.Argument(help="The text; - reads it from stdin.")] = "-",
    strict: Annotated[bool, typer.Option("--strict", help="Let no English through.")] = False,
    prompt: Annotated[str, typer.Option(help="What was asked: what it asks for or holds is let through.")] = "",
    json: Json = False,
) -> None:
    """Show where a text leaves its language."""
    policy = policy_for(language, strict=strict)
    given = _stdin() if text == "-" else text
    report = check_language(given, policy, prompt)
    if json:
        typer.echo(jsonlib.dumps({**asdict(report), "clean": report.clean}, ensure_ascii=False))
    else:
        _show_report(given, report)


@languages.command("score")
def score(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Outputs: a csv of the benchmark's form.")],
    words: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help=f"English words; {_WORDS} beside the file, or the packaged."),
    ] = None,
    json: Json = False,
) -> None:
    """Score a model's outputs by the Language Confusion Benchmark: line and word pass rates in per cent."""
    outputs = _read_outputs(file)
    beside = file.parent / _WORDS
    english = english_words(words or (beside if beside.is_file() else None))
    tasks = summarise(list(_judged(outputs, english)))
    if json:
        typer.echo(jsonlib.dumps({task: _told(rates) for task, rates in tasks.items()}))
    else:
        _show_rates(tasks)


def _judged(outputs: list[Output], english: Collection[str]) -> Iterator[tuple[Output, Judged]]:
    console = err()
    shown = track(outputs, "scoring", console=console, transient=True, disable=not console.is_terminal)
    return ((output, judge(output.text, output.language, english)) for output in shown)


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidValue("The text is not UTF-8: convert it first.") from error


def _read_outputs(file: Path) -> list[Output]:
    """Read a table of outputs.

    Raises:
        InvalidValue: it is none.
    """
    csv.field_size_limit(10_000_000)
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            outputs = [_output(row, f"The row that ends on line {reader.line_num} of {file.name}") for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidValue(f"{file.name} cannot be read as a csv in UTF-8 ({error}).") from error
    if not outputs:
        raise InvalidValue(f"{file.name} needs rows with the columns {', '.join(_COLUMNS)}: it has none.")
    return outputs


def _output(row: Mapping[str, Any], where: str) -> Output:
    missing = [column for column in _COLUMNS if row.get(column) is None]
    if missing:
        raise InvalidValue(f"{where} has no {missing[0]}: every row needs {', '.join(_COLUMNS)}.")
    return Output(row["task"], row["source"], row["language"], row["completion"])


def _told(rates: dict[str, Rates]) -> dict[str, Any]:
    languages = {language: one.to_dict() for language, one in rates.items() if language != "all"}
    return {**rates["all"].to_dict(), "languages": languages}


def _show_rates(tasks: dict[str, dict[str, Rates]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("task")
    table.add_column("language")
    for column in ("LPR", "WPR", "LCPR", "answers", "scorable"):
        table.add_column(column, justify="right")
    for task, rates in tasks.items():
        for language, one in rates.items():
            shares = [_percent(share) for share in (one.lpr, one.wpr, one.lcpr)]
            style = "bold" if language == "all" else None
            row = [printable(task), printable(language), *shares, str(one.answers), str(one.scorable)]
            table.add_row(*row, style=style)
    out().print(table)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"


def _show_report(given: str, report: Report) -> None:
    console = out()
    share = "" if report.target_share is None else f", {report.target_share:.0%} of the letters are its own"
    manner = "strict" if report.strict else "English ignored"
    if report.clean:
        console.print(f"It keeps to {report.language} ({manner}){share}.")
        return
    console.print(_marked(given, report))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, justify in (("from", "right"), ("to", "right"), ("kind", "left"), ("text", "left")):
        table.add_column(column, justify=justify, overflow="ellipsis", no_wrap=True)  # type: ignore[arg-type]
    for one in report.confusions:
        table.add_row(
            str(one.start), str(one.end), one.kind.replace("_", " "), Text(printable(" ".join(one.text.split())))
        )
    console.print(table)
    times = "once" if len(report.confusions) == 1 else f"{len(report.confusions)} times"
    console.print(f"It leaves {report.language} {times} ({manner}){share}.")


def _marked(given: str, report: Report) -> Text:
    """Return the text with brackets around what is off: colours alone get lost in a pipe."""
    marked, last = Text(), 0
    for one in report.confusions:
        marked.append(printable(given[last : one.start]))
        marked.append(f"⟦{printable(one.text)}⟧", style="bold red")
        last = one.end
    return marked.append(printable(given[last:].rstrip("\n")))
