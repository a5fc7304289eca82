"""Commands about API keys."""

from typing import Annotated

import typer

from app.cli.gateway import call, gateway
from app.cli.output import Json, show, show_list

keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


@keys.command("create")
def create(
    tenant: Annotated[str, typer.Option(help="Whose memories it opens.")],
    role: Annotated[str, typer.Option(help="reader, writer or admin.")] = "writer",
    json: Json = False,
) -> None:
    """Make a key; it is shown this once."""
    with gateway() as client:
        show(call(client, "POST", "/v1/keys", json={"tenant": tenant, "role": role}), json)


@keys.command("list")
def list_all(json: Json = False) -> None:
    """List all keys, without their secrets."""
    with gateway() as client:
        rows = call(client, "GET", "/v1/keys")["data"]
    show_list(rows, ("id", "tenant", "role", "created_at", "expires_at"), json)


@keys.command("rm")
def remove(key: Annotated[str, typer.Argument(help="A key's id.")], json: Json = False) -> None:
    """Revoke a key."""
    with gateway() as client:
        show(call(client, "DELETE", f"/v1/keys/{key}"), json)
