"""What commands print: tables and lines for people, JSON for programs."""

import json as jsonlib
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show(fields: dict[str, Any], as_json: bool) -> None:
    """Print an object: a line a field, or JSON."""
    if as_json:
        typer.echo(jsonlib.dumps(fields, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in fields.items():
        if value not in (None, {}, []):
            table.add_row(f"[dim]{name}[/dim]", plain(name, value))
    Console(highlight=False).print(table)


def show_list(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    """Print objects: a table of some of their fields, or JSON with all."""
    if as_json:
        typer.echo(jsonlib.dumps(rows, ensure_ascii=False))
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*[plain(column, row.get(column)) for column in columns])
    Console(highlight=False).print(table)


def plain(name: str, value: Any) -> str:
    """Return a value as people read it: times as dates, shares as they are, objects as short JSON."""
    if value is None:
        return "–"
    if name.endswith("_at") and isinstance(value, int | float):
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(value)) if value else "–"
    if isinstance(value, dict | list):
        return jsonlib.dumps(value, ensure_ascii=False)
    return str(value)
