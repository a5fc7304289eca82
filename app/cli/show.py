"""How results are shown: tables and words for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_COLOURS = {"ready": "green", "failed": "red", "rejected": "red", "cancelled": "dim"}


def out() -> Console:
    """Return a console on stdout, for results."""
    return Console(highlight=False)


def err() -> Console:
    """Return a console on stderr, for progress and errors."""
    return Console(stderr=True, highlight=False)


def show_json(value: object) -> None:
    """Print a value as JSON: indented for a person, on one line for a pipe."""
    console = out()
    text = json.dumps(value, ensure_ascii=False, indent=2 if console.is_terminal else None)
    console.print(text, markup=False, soft_wrap=True)


def show_table(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]], empty: str) -> None:
    """Print rows under titles.

    Args:
        columns: field -> title.
        empty: the sentence for no rows.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for field, title in columns.items():
        table.add_column(title, no_wrap=field == "id", overflow="fold")
    for row in rows:
        table.add_row(*[word(field, row.get(field)) for field in columns])
    out().print(table if table.row_count else empty)


def word(field: str, value: Any) -> str:
    """Write one value for a person; what came from outside is never read as markup."""
    if value is None or value in ("", {}):
        return "-"
    if field in {"status", "state"}:
        return coloured(str(value))
    if field.endswith("_at") and isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    return escape(str(value))


def escape(text: str) -> str:
    """Keep square brackets as they are and control characters out: a name must not move the cursor."""
    printable = "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in text)
    return printable.replace("[", r"\[")


def coloured(state: str) -> str:
    """Write a state in its colour."""
    colour = _COLOURS.get(state, "yellow")
    return f"[{colour}]{escape(state)}[/{colour}]"


def scores_in_words(scores: Mapping[str, Any]) -> list[str]:
    """Write each score as one line: shares of 0-1 as per cent."""
    return [f"{name.replace('_', ' ')}: {_score(name, value)}" for name, value in scores.items()]


def _score(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {_score(key, inner)}" for key, inner in value.items())
    if isinstance(value, float) and not isinstance(value, bool) and 0 <= value <= 1 and not name.endswith("_s"):
        return f"{value:.0%}"
    return escape(f"{value:.2f}" if isinstance(value, float) else str(value))
