"""Commands about memories: make one, look at them."""

import os
from collections.abc import Callable
from contextlib import suppress
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from app.cli.gateway import GatewayError, call, call_pages, check, events, gateway
from app.cli.output import Json, err, out, printable, quote, show, show_list, told_scores
from app.cli.progress import Watcher
from app.core.names import is_memory_id

memories = typer.Typer(
    no_args_is_help=True, help="List, show, add to, cancel, retry, delete, export and import memories."
)
Memory = Annotated[str, typer.Argument(help="A memory's id or name.")]
Recipe = Annotated[str | None, typer.Option(help="quick, balanced (if not given) or thorough.")]
NoSplit = Annotated[
    bool, typer.Option("--no-split", help="Refuse what one adapter cannot hold, in place of training several.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is ready, showing progress.")]
COLUMNS = ("id", "name", "status", "version", "created_at")
SHORT = ("id", "name", "status")


def remember(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Documents.")],
    *,
    name: Annotated[
        str | None,
        typer.Option(
            help="What to call it; if not given, the first file's name and four more characters: handbook 38b3."
        ),
    ] = None,
    recipe: Recipe = None,
    no_split: NoSplit = False,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Train a guard for this language on top of the memory, such as ko; may be repeated."),
    ] = None,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Make a memory of documents: txt, md, html, pdf, docx, csv, tsv, jsonl or json."""
    data = {"name": name} if name else {}
    options = training_options(recipe, no_split=no_split)
    options |= {"languages": language} if language else {}
    with gateway(context) as client:
        memory = _upload(client, "/v1/memories", files, data, options)
        if wait:
            memory = wait_for(client, f"/v1/memories/{memory['id']}")
    tell(memory, wait, json, _scores)


@memories.command("add")
def add(
    context: typer.Context,
    memory: Memory,
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Documents.")],
    *,
    recipe: Recipe = None,
    no_split: NoSplit = False,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Add documents: a new version of all; one of the same name takes the old one's place.

    The version that serves goes on serving until the new one has passed its gate.
    """
    with gateway(context) as client:
        path = f"/v1/memories/{memory_id_of(client, memory)}"
        found = _upload(client, f"{path}/documents", files, {}, training_options(recipe, no_split=no_split))
        if wait:
            found = wait_for(client, path)
    tell(found, wait, json, _scores)


def _upload(
    client: httpx.Client, url: str, files: list[Path], data: dict[str, str], options: dict[str, Any]
) -> dict[str, Any]:
    uploads = [("file", (path.name, path.read_bytes())) for path in files]
    fields = data | ({"options": dumps(options)} if options else {})
    return call(client, "POST", url, files=uploads, data=fields)


def training_options(recipe: str | None, *, no_split: bool, **fields: Any) -> dict[str, Any]:
    """Return what a memory or a plan is asked for with; `fields` of the recipe that are None are left out."""
    given = {name: value for name, value in {"name": recipe, **fields}.items() if value is not None}
    return ({"recipe": given} if given else {}) | ({"split": False} if no_split else {})


def show_fields(client: httpx.Client, path: str, wait: bool, json: bool) -> None:
    """Print all of a memory or guard, once it is over if it is waited for.

    Raises:
        GatewayError: it was waited for and is not ready.
    """
    found = wait_for(client, path) if wait else call(client, "GET", path)
    show(found, json)
    if wait:
        _must_be_ready(found)


def show_short(one: dict[str, Any], json: bool) -> None:
    """Print what a memory or guard is called and how it is; as JSON all of it."""
    show(one if json else {field: one.get(field) for field in SHORT}, json)


def tell(begun: dict[str, Any], waited: bool, json: bool, scores: Callable[[dict[str, Any]], str]) -> None:
    """Say how a memory or guard is that was begun, `scores` of one that is ready.

    Raises:
        GatewayError: it was waited for and is not ready.
    """
    if json or not waited:
        show_short(begun, json)
    elif begun["status"] == "ready":
        out().print(f"{begun['name']} is ready ({begun['id']}). {scores(begun)}", soft_wrap=True)
    if waited:
        _must_be_ready(begun)


def _must_be_ready(waited_for: dict[str, Any]) -> None:
    """Say why a memory or guard is not ready that was waited for.

    Raises:
        GatewayError: it is not.
    """
    if waited_for["status"] != "ready":
        reason = (waited_for.get("error") or {}).get("message", "no reason was given")
        raise GatewayError(f"{waited_for['name']} is {waited_for['status']}: {printable(reason)}")


@memories.command("list")
def list_all(context: typer.Context, json: Json = False) -> None:
    """List all memories, newest first."""
    with gateway(context) as client:
        rows = call_pages(client, "/v1/memories")
    show_list(rows, COLUMNS, json)


@memories.command("show")
def show_one(context: typer.Context, memory: Memory, wait: Wait = False, json: Json = False) -> None:
    """Show one memory."""
    with gateway(context) as client:
        show_fields(client, f"/v1/memories/{memory_id_of(client, memory)}", wait, json)


@memories.command("cancel")
def cancel(context: typer.Context, memory: Memory, json: Json = False) -> None:
    """End the newest version that is not over; one that serves goes on serving."""
    with gateway(context) as client:
        found = call(client, "POST", f"/v1/memories/{memory_id_of(client, memory)}/cancel")
    show_short(found, json)


@memories.command("retry")
def retry(
    context: typer.Context,
    memory: Memory,
    recipe: Annotated[str | None, typer.Option(help="quick, balanced or thorough; if not given, as before.")] = None,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Queue the newest version again after it failed, was rejected or was cancelled.

    Weights that are there are only asked again; another recipe trains anew.
    """
    with gateway(context) as client:
        path = f"/v1/memories/{memory_id_of(client, memory)}"
        found = call(client, "POST", f"{path}/retry", json={"recipe": {"name": recipe}} if recipe else {})
        if wait:
            found = wait_for(client, path)
    tell(found, wait, json, _scores)


@memories.command("rm")
def remove(
    context: typer.Context,
    memory: Memory,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete a memory: documents, weights and all."""
    with gateway(context) as client:
        memory_id = memory_id_of(client, memory)
        if not yes:
            typer.confirm(f"Delete {printable(memory)} ({memory_id}) for good?", abort=True, err=True)
        show(call(client, "DELETE", f"/v1/memories/{memory_id}"), json)
    if not json:
        tell_receipt(memory_id)


@memories.command("receipt")
def receipt(
    context: typer.Context,
    memory: Annotated[str, typer.Argument(help="A deleted memory's or guard's id.")],
    json: Json = False,
) -> None:
    """Show what deleting a memory or language guard has erased, and when."""
    with gateway(context) as client:
        show(call(client, "GET", f"/v1/memories/{quote(memory)}/receipt"), json)


@memories.command("export")
def export(
    context: typer.Context,
    memory: Memory,
    to: Annotated[Path | None, typer.Option(dir_okay=False, help="The tar file; else <id>.tar here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Save a memory's adapter and its documents as a tar file."""
    with gateway(context) as client:
        memory_id = memory_id_of(client, memory)
        target = to or Path(f"{memory_id}.tar")
        if os.path.exists(target) and not force:  # in a folder that nobody may look into it is said below
            raise GatewayError(f"{target} is there already: give another name with --to, or --force.")
        _download(client, f"/v1/memories/{memory_id}/export", target)
    size, path = target.stat().st_size, os.fsencode(target).decode(errors="replace")
    if json:
        show({"path": path, "size_bytes": size}, True)
    else:
        out().print(f"{path}: {size / 1e6:.1f} MB", soft_wrap=True)


@memories.command("import")
def take_in(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A tar that `export` saved.")],
    name: Annotated[str | None, typer.Option(help="What to call the memory; else after its first document.")] = None,
    json: Json = False,
) -> None:
    """Make a memory of an exported one, weights and documents."""
    data = {"name": name} if name is not None else {}
    with gateway(context) as client, file.open("rb") as tar:
        memory = call(client, "POST", "/v1/memories/import", files={"file": (file.name, tar)}, data=data)
    show_short(memory, json)


def _download(client: httpx.Client, url: str, target: Path) -> None:
    """Save a reply's body; a download that breaks leaves no file."""
    part = target.with_name(f".{target.name}.part")
    try:
        with client.stream("GET", url) as reply:
            check(reply)
            with part.open("wb") as file:
                for block in reply.iter_bytes():
                    file.write(block)
        part.replace(target)
    except OSError as error:
        raise GatewayError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):  # where it could not be made either, that is said already
            part.unlink()


def memory_id_of(client: httpx.Client, memory: str) -> str:
    """Return a memory's id, whether it was given by id or by name."""
    if is_memory_id(memory):
        return memory
    for found in call(client, "GET", "/v1/memories", params={"name": memory, "limit": 1})["data"]:
        return str(found["id"])
    raise GatewayError(f"There is no memory called {memory!r}: `lorekeep memories list` shows all.")


def tell_receipt(deleted: str) -> None:
    """Say where it is told what a deletion has erased."""
    err().print(f"`lorekeep memories receipt {deleted}` says what was erased.", style="dim", soft_wrap=True)


def wait_for(client: httpx.Client, path: str) -> dict[str, Any]:
    """Show what happens until a guard or a memory's newest version is ready or has failed; return it as it is then.

    Raises:
        Exit: Ctrl-C; what is waited for goes on.
    """
    newest = call(client, "GET", path).get("latest", 1)
    try:
        with Watcher(err()) as watcher:
            for kind, data, at in events(client, path):
                if data.get("version", newest) >= newest:
                    watcher.tell(kind, data, at)
    except KeyboardInterrupt:
        command, one = "lorekeep language" if "/languages/" in path else "lorekeep memories", path.rpartition("/")[2]
        told = f"It goes on. `{command} show {one} --wait` watches it again, `{command} cancel {one}` ends it."
        err().print(told, style="dim", soft_wrap=True)
        raise typer.Exit(130) from None
    return call(client, "GET", path)


def _scores(memory: dict[str, Any]) -> str:
    return told_scores(memory.get("scores") or {})
