"""A memory's events as one progress bar, and a line for each stage that is over."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.cli.output import printable
from app.core.lifecycle import UNSUCCESSFUL


class Watcher:
    """Shows the stage, how far it is, the loss, the speed and the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[stage]:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[told]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, stage="queued", told="")
        self._stage, self._since, self._told = "queued", 0.0, ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def tell(self, kind: str, data: dict[str, Any], at: float) -> None:
        """Take one event and when it happened, in seconds: what is past is told at once, with the time it took."""
        if kind == "state":
            self._move(printable(str(data["state"])), at, judged="scores" in data)
        elif kind == "progress":
            self._advance(data)

    def _move(self, state: str, at: float, *, judged: bool) -> None:
        if state == self._stage:
            return
        if state in UNSUCCESSFUL:
            self._console.print(f"[red]✗[/red] {self._stage}: {state}")
        elif state == "queued":
            why = "was cut off and begins again"
            if judged:
                why = "is over: the gate refused it, and another seed is tried"
            elif self._stage in UNSUCCESSFUL:
                why = "before, and tried again"
            self._console.print(f"[yellow]↻[/yellow] {self._stage} {why}")
        elif self._stage != "queued":
            seconds = at - self._since
            self._console.print(f"[green]✓[/green] {self._stage:<10} [dim]{seconds:4.0f} s  {self._told}[/dim]")
        self._stage, self._since, self._told = state, at, ""
        self._progress.update(self._task, stage=state, told="", total=None, completed=0)

    def _advance(self, data: dict[str, Any]) -> None:
        done, total = data.get("step", data.get("done")), data.get("steps", data.get("total"))
        told = [f"part {data['part']} of {data['parts']}"] if "part" in data else []
        told += [f"{done}/{total}"] if total else [f"{done} answers"] if done else []
        if data.get("loss") is not None:
            told.append(f"loss {data['loss']:.3f}")
        if data.get("tokens_per_s"):
            told.append(f"{data['tokens_per_s']:.0f} tokens/s")
        self._told = "  ".join(told)
        if data.get("eta_s") is not None:
            told.append(f"{data['eta_s']:.0f} s left")
        self._progress.update(self._task, completed=done, total=total, told="  ".join(told))
