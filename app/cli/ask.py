"""`lorekeep ask`: one question to a memory, or to the one that it is about."""

import math
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.gateway import call, gateway
from app.cli.output import Json, err, out, printable, show
from app.core.composition import Method
from app.core.modes import RequestMode


def ask(  # noqa: PLR0913 - a parameter an option
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="What to ask.")],
    *,
    memories: Annotated[
        str,
        typer.Option(
            "--memories", "--memory", help="auto, or ids or names with commas between: of several one is chosen."
        ),
    ] = "auto",
    mode: Annotated[
        RequestMode,
        typer.Option(help="adapter: from the weights; context: from passages; both; auto: what promises most."),
    ] = "adapter",
    language: Annotated[
        str | None, typer.Option(help="Keep the answer in this language, such as ko, by a guard that is ready.")
    ] = None,
    compose: Annotated[
        Method | None, typer.Option(help="Several --memories answer as one adapter, put together in this way.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="With --compose: one number for each memory, as in 1,0.5.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show who was considered, and why.")] = False,
    json: Json = False,
) -> None:
    """Ask a memory, or the one that the question is about."""
    if language == "":
        raise typer.BadParameter("--language is empty: name one, such as ko, or leave it out.")
    names = [name for one in memories.split(",") if (name := one.strip())]
    sent = {"question": question, "memories": names, "mode": mode, **({"explain": True} if explain else {})}
    sent |= {"language": language} if language else {}
    sent |= {"compose": recipe} if (recipe := _recipe(names, compose, weights)) else {}
    with gateway(context) as client:
        reply = call(client, "POST", "/v1/query", json=sent)
    if json:
        show(reply, True)
        return
    out().print(printable(reply["answer"].strip()), soft_wrap=True)
    err().print(_source(reply["memory"]), style="dim", markup=False, soft_wrap=True)
    if explain:
        _explain(reply["memory"])


def _recipe(names: list[str], method: Method | None, weights: str | None) -> dict[str, Any]:
    """Return how memories are put together; empty where they are not.

    Raises:
        BadParameter: the options do not fit each other.
    """
    if method is None:
        if weights is not None:
            raise typer.BadParameter("weights belong to a composite: name its --compose as well.")
        return {}
    if len(names) < 2:
        raise typer.BadParameter("--compose takes several memories: name them as in --memories a,b.")
    if weights is None:
        return {"method": method}
    try:
        numbers = [float(one) for one in weights.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{weights!r} is not a list of numbers such as 1,0.5.") from error
    if len(numbers) != len(names) or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"there are {len(names)} memories: give --weights one number for each.")
    return {"method": method, "weights": numbers}


def _explain(memory: dict[str, Any]) -> None:
    """Show the candidates and the passages, beside the answer: on stderr."""
    candidates = memory.get("candidates") or []
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True, width=1)
    table.add_column("memory", overflow="fold", max_width=30)
    for name in ("version", "score"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("why", overflow="fold")
    for one in candidates:
        similarity = "" if one.get("similarity") is None else f"similarity {one['similarity']:.2f}; "
        mark = "✓" if one["taken"] else ""
        name, why = printable(one["name"]), printable(f"{similarity}{one['reason']}")
        table.add_row(mark, name, f"v{one['version']}", f"{one['score']:.2f}", why)
    err().print(table if candidates else "There was nothing to choose among.", markup=False)
    for passage in memory["passages"]:
        told = (
            f"{passage['document']} #{passage['index']} ({passage['score']:.2f}): {' '.join(passage['text'].split())}"
        )
        err().print(printable(told), markup=False, overflow="ellipsis", no_wrap=True)


def _source(memory: dict[str, Any]) -> str:
    used = ", ".join(
        f"{one['id']} v{one['version']}" + (f" part {one['part']}" if "part" in one else "") for one in memory["used"]
    )
    cold = f"loaded in {memory['load_ms']:.0f} ms" if memory["cold"] else ""
    passages = f"{len(memory['passages'])} passages" if memory["passages"] else ""
    abstained = "no memory answers this" if memory.get("abstained") else ""
    return " · ".join(filter(None, [memory["mode"], used, abstained, passages, memory["engine"], cold]))
