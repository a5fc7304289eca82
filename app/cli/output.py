"""What commands print: tables and lines for people, JSON for programs."""

import json as jsonlib
import os
import re
import time
from typing import Annotated, Any
from urllib.parse import quote as percent_encode

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# what moves a cursor or turns a line around
_MOVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_WIDE = 500
COLOURS = {"ready": "green", "failed": "red", "rejected": "red", "cancelled": "dim"}


def out() -> Console:
    """Return the console of results."""
    return Console(highlight=False, markup=False, emoji=False)


def err() -> Console:
    """Return the console of progress: stdout is for results."""
    return Console(stderr=True, highlight=False, emoji=False)


def show(fields: dict[str, Any], as_json: bool) -> None:
    """Print an object: a line a field, or JSON."""
    if as_json:
        typer.echo(jsonlib.dumps(fields, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if name != "object" and value not in (None, {}, []):
            table.add_row(name, plain(name, value))
    out().print(table)


def show_list(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    """Print objects: a table of some of their fields, or JSON with all."""
    if as_json:
        typer.echo(jsonlib.dumps(rows, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, no_wrap=column == "id", overflow="fold")
    for row in rows:
        table.add_row(*[plain(column, row.get(column)) for column in columns])
    console = out()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE  # in a pipe nothing is folded
    console.print(table if rows else "There are none.")


def plain(name: str, value: Any) -> Text:
    """Return a value as people read it: times as dates, shares as per cent, objects as short JSON."""
    if value is None:
        return Text("–")
    if name.endswith("_at") and isinstance(value, int | float):
        return Text(time.strftime("%Y-%m-%d %H:%M", time.localtime(value)) if value else "–")
    if name == "status":
        return Text(printable(str(value)), style=COLOURS.get(str(value), "yellow"))
    if name == "scores":
        return Text(printable(told_scores(value)))
    if isinstance(value, dict | list):
        return Text(printable(jsonlib.dumps(value, ensure_ascii=False)))
    return Text(printable(str(value)))


def told_scores(scores: dict[str, Any]) -> str:
    """Return a version's scores as one line: shares with their 95 % intervals, and what was kept of the rest."""
    shares = [_share(name, scores) for name in ("adapter", "base", "context", "both", "recall") if name in scores]
    told = f"Right answers: {', '.join(shares)}." if shares else ""
    control = scores.get("control")
    if control:
        told += f" Of {control['known']} general ones that the base gives, {control['kept']} are kept."
    return told.strip()


def _share(name: str, scores: dict[str, Any]) -> str:
    reach = scores.get(f"{name}_interval")
    return f"{name} {scores[name]:.0%}" + (f" ({reach[0]:.0%} to {reach[1]:.0%})" if reach else "")


def printable(text: str) -> str:
    """Take out what would move a terminal's cursor or change its colours: answers and names come from elsewhere."""
    return _MOVES.sub("\N{REPLACEMENT CHARACTER}", text)


def quote(part: str) -> str:
    """Make one part of a URL's path of what a user typed."""
    return percent_encode(part, safe="", errors="replace")  # no id has what is not UTF-8
