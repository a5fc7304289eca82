"""Commands about language guards: train one, look at them."""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.gateway import call, call_pages, gateway
from app.cli.memories import Wait, memory_id_of, show_fields, show_short, tell, tell_receipt, wait_for
from app.cli.output import Json, quote, show, show_list
from app.cli.prompts import read_prompts
from app.core.errors import InvalidValue

Guard = Annotated[str, typer.Argument(help="A guard's id.")]
COLUMNS = ("id", "name", "language", "memory", "status")


def train(  # noqa: PLR0913 - a parameter an option
    context: typer.Context,
    language: Annotated[str, typer.Option(help="The language to stay in, such as ko.")],
    *,
    name: Annotated[str | None, typer.Option(help="What to call the guard.")] = None,
    memory: Annotated[str | None, typer.Option(help="A memory, by id or name, to train on top of.")] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Prompts of your own: a txt, one a line; a csv or jsonl with `prompt`."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let no English through either.")] = False,
    recipe: Annotated[
        str, typer.Option(help="""Fields of the recipe as JSON, such as '{"answers": 384, "iterations": 1}'.""")
    ] = "{}",
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Train a guard that keeps answers in one language."""
    fields = _fields(recipe)
    if strict and fields.get("strict") is False:
        raise typer.BadParameter("--strict and the recipe's strict contradict each other: leave one out.")
    for option, value in (("--name", name), ("--memory", memory)):
        if value == "":
            raise typer.BadParameter(f"{option} is empty: name one, or leave it out.")
    body: dict[str, Any] = {"language": language, "recipe": {"strict": strict, **fields}}
    body |= {"name": name} if name else {}
    if prompts:
        body["prompts"] = read_prompts(prompts)
    with gateway(context) as client:
        body |= {"memory": memory_id_of(client, memory)} if memory else {}
        guard = call(client, "POST", "/v1/languages", json=body)
        if wait:
            guard = wait_for(client, f"/v1/languages/{guard['id']}")
    tell(guard, wait, json, _scores)


def list_all(context: typer.Context, json: Json = False) -> None:
    """List all guards, newest first."""
    with gateway(context) as client:
        rows = call_pages(client, "/v1/languages")
    told = [{**row, "language": f"{row['language']} strict"} if row["strict"] else row for row in rows]
    show_list(rows if json else told, COLUMNS, json)


def show_one(context: typer.Context, guard: Guard, wait: Wait = False, json: Json = False) -> None:
    """Show one guard, with its scores."""
    with gateway(context) as client:
        show_fields(client, f"/v1/languages/{quote(guard)}", wait, json)


def cancel(context: typer.Context, guard: Guard, json: Json = False) -> None:
    """Stop training a guard."""
    with gateway(context) as client:
        found = call(client, "POST", f"/v1/languages/{quote(guard)}/cancel")
    show_short(found, json)


def retry(context: typer.Context, guard: Guard, wait: Wait = False, json: Json = False) -> None:
    """Queue a guard again that failed, was rejected or was cancelled; weights that are there are only asked again."""
    with gateway(context) as client:
        path = f"/v1/languages/{quote(guard)}"
        found = call(client, "POST", f"{path}/retry")
        if wait:
            found = wait_for(client, path)
    tell(found, wait, json, _scores)


def remove(context: typer.Context, guard: Guard, json: Json = False) -> None:
    """Delete a guard."""
    with gateway(context) as client:
        show(call(client, "DELETE", f"/v1/languages/{quote(guard)}"), json)
    if not json:
        tell_receipt(guard)


def _fields(recipe: str) -> dict[str, Any]:
    """Read fields of a recipe.

    Raises:
        InvalidValue: they are no JSON object, or have numbers or characters that no request carries.
    """
    try:
        fields = jsonlib.loads(recipe)
        jsonlib.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise InvalidValue("""--recipe must be a JSON object, such as '{"answers": 1536, "passes": 2}'.""")
    return fields


def _scores(guard: dict[str, Any]) -> str:
    kind = "strict" if guard["strict"] else "neutral"
    before, after = (guard["scores"][side][kind]["rpr"] for side in ("before", "after"))
    told = f"It keeps to {guard['language']} in {after:.0%} of its answers, and the model without it in {before:.0%}."
    lost = guard["scores"].get("compression_error")
    return f"{told} Compressed, its sum with the memory lost {lost:.1%}: see LOREKEEP_MAX_LORA_RANK." if lost else told
