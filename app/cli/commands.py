"""The command line's tree of commands, and how an error becomes one sentence and an exit code."""

import os
from typing import Any

import stamina
import typer
from rich.console import Console
from typer.core import TyperGroup

from app.cli import guards, keys, languages, memories, parts, plans
from app.cli.ask import ask
from app.cli.gateway import GatewayError
from app.core.errors import InvalidValue
from app.errors import ServiceError, StartupError


class Commands(TyperGroup):
    """Ends with 1 when what was asked for did not happen, with 2 when it could not be tried."""

    def invoke(self, ctx: Any) -> Any:
        """Run one command.

        Raises:
            Exit: it failed; the reason stands on stderr.
        """
        stamina.instrumentation.set_on_retry_hooks([])  # they log on stdout, which is for results
        try:
            return super().invoke(ctx)
        except (StartupError, InvalidValue) as error:
            _say(str(error))
            raise typer.Exit(2) from error
        except (GatewayError, ServiceError) as error:
            _say(str(error))
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turn documents into memories, and ask them.",
)
app.command("up")(parts.up)
app.command("gateway")(parts.gateway)
app.command("engine")(parts.engine)
app.command("trainer")(parts.trainer)
app.add_typer(parts.registry, name="registry")
app.command("remember")(memories.remember)
app.command("ask")(ask)
app.command("plan")(plans.plan)
app.command("calibrate")(plans.calibrate)
app.add_typer(memories.memories, name="memories")
app.add_typer(keys.keys, name="keys")
languages.languages.command("train")(guards.train)
languages.languages.command("list")(guards.list_all)
languages.languages.command("show")(guards.show_one)
languages.languages.command("cancel")(guards.cancel)
languages.languages.command("retry")(guards.retry)
languages.languages.command("rm")(guards.remove)
app.add_typer(languages.languages, name="language")


def main() -> None:
    """Run one command; its processes' threads sleep while they wait for each other, all but at once.

    OpenMP's spin for milliseconds instead, and on cores that do other work as well each spins through the time the
    others need: two threads of a trainer beside one busy process took over 16 times as long. Asleep at once, they took
    a quarter longer than after some microseconds, where they had the cores to themselves. Read when PyTorch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    app()


def _say(sentence: str) -> None:
    Console(stderr=True, highlight=False, markup=False, emoji=False).print(sentence, style="red", soft_wrap=True)
