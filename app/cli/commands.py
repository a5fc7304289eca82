"""The command line's tree of commands, and how an error becomes one sentence and an exit code."""

import sys

import typer
from rich.console import Console

from app.cli import keys, memories, parts
from app.cli.gateway import GatewayError
from app.core.errors import InvalidValue
from app.errors import ServiceError, StartupError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
app.command("up")(parts.up)
app.command("gateway")(parts.gateway)
app.command("engine")(parts.engine)
app.command("trainer")(parts.trainer)
app.add_typer(parts.registry, name="registry")
app.command("remember")(memories.remember)
app.command("ask")(memories.ask)
app.add_typer(memories.memories, name="memories")
app.add_typer(keys.keys, name="keys")


def main() -> None:
    """Run one command; 1 when what was asked for did not happen, 2 when it could not be tried."""
    try:
        app(standalone_mode=True)
    except (StartupError, InvalidValue) as error:
        _say(str(error))
        sys.exit(2)
    except (GatewayError, ServiceError) as error:
        _say(str(error))
        sys.exit(1)


def _say(sentence: str) -> None:
    Console(stderr=True, highlight=False, markup=False).print(sentence, style="red", soft_wrap=True)
