"""Commands about memories: make one, ask one, look at them."""

from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from app.cli.gateway import GatewayError, call, events, gateway
from app.cli.output import Json, show, show_list
from app.cli.progress import Watcher

memories = typer.Typer(no_args_is_help=True, help="List, show, delete and export memories.")
Memory = Annotated[str, typer.Argument(help="A memory's id or name.")]
COLUMNS = ("id", "name", "status", "version", "created_at")


def remember(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Documents.")],
    name: Annotated[str, typer.Option(help="What to call the memory.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is ready, showing progress.")] = False,
    json: Json = False,
) -> None:
    """Make a memory of documents: txt, md, html, pdf, docx, csv or jsonl."""
    uploads = [("file", (path.name, path.read_bytes())) for path in files]
    with gateway() as client:
        memory = call(client, "POST", "/v1/memories", files=uploads, data={"name": name})
        if wait:
            memory = _wait(client, memory, quiet=json)
    if json or not wait:
        show(_short(memory) if not json else memory, json)
    if wait and memory["status"] != "ready":
        reason = (memory.get("error") or {}).get("message", "no reason was given")
        raise GatewayError(f"{memory['name']} is {memory['status']}: {reason}")


def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    memory: Annotated[str, typer.Option(help="The memory's id or name.")],
    mode: Annotated[str, typer.Option(help="adapter: from the weights; context: from passages.")] = "adapter",
    json: Json = False,
) -> None:
    """Ask a memory."""
    with gateway() as client:
        reply = call(client, "POST", "/v1/query", json={"question": question, "memories": [memory], "mode": mode})
    if json:
        show(reply, True)
        return
    console = Console(highlight=False, markup=False)
    console.print(reply["answer"].strip())
    console.print(_source(reply["memory"]), style="dim")


@memories.command("list")
def list_all(json: Json = False) -> None:
    """List all memories, newest first."""
    rows: list[dict[str, Any]] = []
    with gateway() as client:
        after: str | None = ""
        while after is not None:
            page = call(client, "GET", "/v1/memories", params={"limit": 100, **({"after": after} if after else {})})
            rows += page["data"]
            after = page["next"] if page["has_more"] else None
    show_list(rows, COLUMNS, json)


@memories.command("show")
def show_one(memory: Memory, json: Json = False) -> None:
    """Show one memory."""
    with gateway() as client:
        show(call(client, "GET", f"/v1/memories/{_id(client, memory)}"), json)


@memories.command("rm")
def remove(memory: Memory, json: Json = False) -> None:
    """Delete a memory: documents, weights and all."""
    with gateway() as client:
        show(call(client, "DELETE", f"/v1/memories/{_id(client, memory)}"), json)


@memories.command("export")
def export(
    memory: Memory, to: Annotated[Path | None, typer.Option(help="The tar file; else <name>.tar here.")] = None
) -> None:
    """Save a memory's adapter and its manifest as a tar file."""
    with gateway() as client:
        memory_id = _id(client, memory)
        target = to or Path(f"{memory_id}.tar")
        with client.stream("GET", f"/v1/memories/{memory_id}/export") as reply:
            if not reply.is_success:
                reply.read()
                raise GatewayError(reply.json()["error"]["message"])
            with target.open("wb") as file:
                for block in reply.iter_bytes():
                    file.write(block)
    Console(highlight=False).print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def _id(client: httpx.Client, memory: str) -> str:
    """Return a memory's id, whether it was given by id or by name."""
    if memory.startswith("mem_"):
        return memory
    for model in call(client, "GET", "/v1/memories", params={"name": memory, "limit": 1})["data"]:
        return str(model["id"])
    raise GatewayError(f"There is no memory called {memory!r}: `lorekeep memories list` shows all.")


def _wait(client: httpx.Client, memory: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    with Watcher(Console(stderr=quiet, highlight=False), memory["name"]) as watcher:
        for kind, data in events(client, memory["id"]):
            watcher.tell(kind, data)
    memory = call(client, "GET", f"/v1/memories/{memory['id']}")
    if not quiet and memory["status"] == "ready":
        scores = memory.get("scores") or {}
        shares = ", ".join(f"{name} {scores[name]:.0%}" for name in ("adapter", "base") if name in scores)
        Console(highlight=False).print(f"{memory['name']} is ready ({memory['id']}). Right answers: {shares}.")
    return memory


def _short(memory: dict[str, Any]) -> dict[str, Any]:
    return {name: memory.get(name) for name in ("id", "name", "status")}


def _source(memory: dict[str, Any]) -> str:
    used = ", ".join(f"{one['id']} v{one['version']}" for one in memory["used"])
    cold = f", loaded in {memory['load_ms']:.0f} ms" if memory["cold"] else ""
    passages = f", {len(memory['passages'])} passages" if memory["passages"] else ""
    return f"{memory['mode']} · {used}{passages} · {memory['engine']}{cold}"
