"""Commands about API keys."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.cli.gateway import call, gateway
from app.cli.output import Json, quote, show, show_list
from app.core.roles import Role

_MOST_DAYS = 1_000_000  # the API's times end with the year 9999
keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


@keys.command("create")
def create(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="Whose memories it opens.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.WRITER,
    days: Annotated[
        int | None, typer.Option(min=1, max=_MOST_DAYS, help="How long it lives; for ever if not given.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a key; it is shown this once."""
    expires = (datetime.now(UTC) + timedelta(days=days)).isoformat() if days else None
    with gateway(context) as client:
        show(call(client, "POST", "/v1/keys", json={"tenant": tenant, "role": role, "expires": expires}), json)


@keys.command("list")
def list_all(context: typer.Context, json: Json = False) -> None:
    """List all keys, without their secrets."""
    with gateway(context) as client:
        rows = call(client, "GET", "/v1/keys")["data"]
    show_list(rows, ("id", "tenant", "role", "created_at", "expires_at"), json)


@keys.command("rm")
def remove(context: typer.Context, key: Annotated[str, typer.Argument(help="A key's id.")], json: Json = False) -> None:
    """Revoke a key."""
    with gateway(context) as client:
        show(call(client, "DELETE", f"/v1/keys/{quote(key)}"), json)
