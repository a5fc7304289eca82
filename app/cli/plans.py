"""Commands about capacity: what documents would take, and how much this base model holds."""

import json as jsonlib
import math
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.cli.gateway import call, gateway
from app.cli.memories import NoSplit, Recipe, training_options
from app.cli.output import Json, err, out, show
from app.cli.parts import check_installed
from app.core.capacity import Law, Point
from app.core.errors import InvalidValue
from app.core.plan import TARGET_RECALL
from app.settings import load_settings
from app.supervise.checks import check_model

_Told = dict[str, Any]


def plan(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Documents.")],
    *,
    target_recall: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the facts to be recalled word for word.")
    ] = TARGET_RECALL,
    recipe: Recipe = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the LoRA; if not given, the smallest that will do.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Which layers carry it: mlp (if not given), attention or all-linear.")
    ] = None,
    no_split: NoSplit = False,
    json: Json = False,
) -> None:
    """Say what a memory of documents would take: rank, steps, size, recall, time. Trains nothing, keeps nothing."""
    uploads = [("file", (path.name, path.read_bytes())) for path in files]
    training = training_options(recipe, no_split=no_split, rank=rank, target=target)
    options = jsonlib.dumps({"target_recall": target_recall, **training})
    with gateway(context) as client:
        made = call(client, "POST", "/v1/plans", files=uploads, data={"options": options})
    show(made if json else _in_words(made), json)


def calibrate(
    minutes: Annotated[float, typer.Option(min=0.1, help="Stop after so long; what was measured is kept.")] = 60,
    ranks: Annotated[str, typer.Option(help="Which ranks to measure.")] = "1,2,4",
    loads: Annotated[str, typer.Option(help="With how many facts to measure each.")] = "96,192,384",
    json: Json = False,
) -> None:
    """Measure how much a memory holds on this base model, on this machine, so that plans can go by it."""
    check_model(load_settings())  # before PyTorch is read: a wrong name is told at once
    check_installed("peft")
    command = [sys.executable, "-m", "workers.trainer.calibrate", "--minutes", str(minutes)]
    command += ["--ranks", *_numbers(ranks, "--ranks"), "--facts", *_numbers(loads, "--loads")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None, "it was asked for"
        result = follow(worker.stdout, err())
    if worker.returncode:
        raise typer.Exit(worker.returncode)  # its sentence stands on stderr
    if json:
        show(result, True)
    else:
        _show_law(Law(**result["law"]), [Point(**one) for one in result["points"]])


def follow(lines: Iterable[str], console: Console) -> _Told:
    """Show how far a calibration is; return what it ends with, or nothing where it ends early."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    result: _Told = {}
    with progress:
        task = progress.add_task("measuring", total=None, told="")
        for told in map(jsonlib.loads, lines):
            match told["kind"]:
                case "sweep":
                    progress.update(task, total=told["points"], completed=told["kept"])
                    if told["kept"]:
                        console.print(f"[dim]{told['kept']} of {told['points']} are measured already[/dim]")
                case "step":
                    place = f"rank {told['rank']}, {told['facts']} facts"
                    step = f"step {told['step']} of at most {told['steps']}, loss {told['loss']:.3f}"
                    progress.update(task, description=place, told=step)
                case "point":
                    progress.advance(task)
                    console.print(_measured(Point(**told["point"]), told["tokens_per_s"]))
                case "over":
                    console.print(f"[yellow]✗[/yellow] {told['left']} not measured: {told['why']}")
                case "law":
                    result = {"law": told["law"], "points": told["points"]}
    return result


def _numbers(text: str, option: str) -> list[str]:
    """Return the numbers of a list as a user types it."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise InvalidValue(f"{option} is {text!r}: give whole numbers above 0 with commas between, such as 1,2,4.")
    return parts


def _measured(point: Point, tokens_per_s: float) -> str:
    place = f"rank {point.rank}, {point.facts} facts in {point.tokens} tokens"
    return f"[green]✓[/green] {place}: recall {point.recall:.2f} [dim]{tokens_per_s:.0f} tokens/s[/dim]"


def _show_law(law: Law, points: list[Point]) -> None:
    """Print recall by rank and load, and what the law makes of it."""
    measured = {(one.rank, one.facts): one for one in points}
    loads = sorted({one.facts for one in points})
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("rank", *[f"{load} facts" for load in loads], f"tokens at {TARGET_RECALL:g}"):
        table.add_column(column, justify="right")
    for rank, parameters in sorted({(one.rank, one.parameters) for one in points}):
        found = [measured.get((rank, load)) for load in loads]
        holds = f"{law.most_tokens(TARGET_RECALL, parameters):,.0f}"
        table.add_row(str(rank), *[f"{one.recall:.2f}" if one else "–" for one in found], holds)
    console = out()
    console.print(table)
    fall = math.pow(1 / TARGET_RECALL - 1, -2 / law.slope)
    console.print(
        f"Recall falls from {TARGET_RECALL:.2f} to {1 - TARGET_RECALL:.2f} while the load grows {fall:.1f} times; "
        f"a doubled rank holds {2**law.power:.2f} times as much. "
        f"A single training may do as if the load were {math.exp(2 * law.spread):.1f} times as large, or as small."
    )


def _in_words(made: _Told) -> _Told:
    """Return a plan as few lines for people."""
    parts = made["partitions"]
    several = (
        f"{parts}: one cannot hold all; the memory is made of {parts} parts, and each question goes to one of them"
    )
    estimated = ", estimated from their bytes" if made["tokens_estimated"] else ""
    seconds = made["estimated_s"]
    time = f", at most {_duration(seconds)}" if seconds is not None else ""
    law = "calibrated" if made["calibrated"] else "not calibrated: run `lorekeep calibrate`"
    return {
        "documents": f"{made['facts']:,} facts in {made['tokens']:,} tokens{estimated}",
        "adapter": f"rank {made['rank']}, alpha {made['alpha']}, on {made['target']}: "
        f"{made['parameters']:,} parameters, {made['adapter_mb']:.1f} MB",
        "adapters": several if parts > 1 else "1",
        "training": f"{made['exposures_per_fact']} exposures per fact, {made['steps']:,} steps{time}",
        "recall": f"{made['recall']:.2f} ({made['recall_low']:.2f} to {made['recall_high']:.2f}), {law}",
        "room": f"{made['most_tokens']:,} tokens an adapter at a recall of {made['target_recall']:g}",
    }


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
