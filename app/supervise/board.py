"""What starts and how long it took, as a table that lives while it changes; as lines where nobody watches."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

EXPECTED = {"engine": "about a minute on a CPU"}


class Board:
    """Shows the start of each part."""

    def __init__(self, console: Console, names: list[str]) -> None:
        self._console, self._names = console, names
        self._began: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if self._console.is_terminal:
            self._console.print(self._table())

    def begin(self, name: str) -> None:
        """Show a part as starting."""
        self._began[name] = time.monotonic()
        if not self._console.is_terminal:
            self._console.print(f"{name}: starting")

    def end(self, name: str) -> None:
        """Show a part as up."""
        self._took[name] = time.monotonic() - self._began[name]
        if not self._console.is_terminal:
            self._console.print(f"{name}: up after {self._took[name]:.1f} s")

    def refresh(self) -> None:
        """Draw again."""
        if self._console.is_terminal:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name in self._names:
            if name in self._took:
                table.add_row(f"[green]✓[/green] {name}", f"{self._took[name]:.1f} s", "")
            elif name in self._began:
                seconds = time.monotonic() - self._began[name]
                table.add_row(f"[yellow]…[/yellow] {name}", f"{seconds:.0f} s", f"[dim]{EXPECTED.get(name, '')}[/dim]")
            else:
                table.add_row(f"[dim]· {name}[/dim]", "", "")
        return table
