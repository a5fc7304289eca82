"""A memory's events as one progress bar that ends with a tick or a cross."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

UNSUCCESSFUL = {"failed", "rejected", "cancelled"}


class Watcher:
    """Shows the stage, how far it is, the loss, the speed and the time left."""

    def __init__(self, console: Console, name: str) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[stage]:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID = self._progress.add_task(name, total=None, stage="queued", told="")
        self._stage = "queued"

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """Take one event."""
        if kind == "state":
            self._move(data["state"])
        elif kind == "progress":
            self._advance(data)

    def _move(self, state: str) -> None:
        if state in UNSUCCESSFUL:
            self._console.print(f"[red]✗[/red] {state}")
        elif self._stage not in {"queued", state}:
            self._console.print(f"[green]✓[/green] {self._stage}")
        self._stage = state
        self._progress.update(self._task, stage=state, told="", total=None, completed=0)

    def _advance(self, data: dict[str, Any]) -> None:
        if "step" in data:
            told = f"loss {data['loss']:.3f}  {data['tokens_per_s']:.0f} tok/s  at most {data['eta_s']:.0f} s left"
            self._progress.update(self._task, completed=data["step"], total=data["steps"], told=told)
        else:
            told = f"{data['done']}/{data['total']}"
            self._progress.update(self._task, completed=data["done"], total=data["total"], told=told)
