"""Commands that start processes: all of them on this machine, or one of them alone."""

import asyncio
import importlib.util
import os
import sys

import typer
from rich.console import Console

from app.cli.output import Json, printable, show
from app.errors import RegistryUnavailable, StartupError, Unavailable
from app.logs import set_up_logs
from app.settings import Settings, load_settings, misspelt
from app.supervise.checks import check_registry

registry = typer.Typer(no_args_is_help=True, help="The registry in Redis.")


def up() -> None:
    """Start registry, engine, trainer and gateway on this machine; Ctrl-C stops them."""
    from app.supervise.run import up as run_all  # noqa: PLC0415 - supervisord is for `up` alone

    run_all(_settings(), Console(highlight=False))


def gateway() -> None:
    """Run the gateway alone, from LOREKEEP_* variables."""
    _become("app.main")


def engine() -> None:
    """Run one engine alone, from LOREKEEP_* variables."""
    _become("workers.engine", needs="vllm")


def trainer() -> None:
    """Run one trainer alone, from LOREKEEP_* variables."""
    _become("workers.trainer", needs="peft")


@registry.command()
def rebuild(json: Json = False) -> None:
    """Restore memories, language guards and versions from the artifacts; what the registry holds is left alone."""
    from redis import RedisError  # noqa: PLC0415 - slow to load

    from app.services.rebuild import rebuild as restore  # noqa: PLC0415 - needs the stores

    settings = load_settings()
    check_registry(settings)
    set_up_logs("WARNING", part="cli")
    try:
        restored = asyncio.run(restore(settings))
    except RedisError as error:
        raise RegistryUnavailable(f"The registry does not work ({error}): mend it, then run this again.") from error
    except OSError as error:
        raise Unavailable(f"The artifact store does not work ({error}): mend it, then run this again.") from error
    show(restored, json)


def check_installed(package: str) -> None:
    """Make sure that a part which needs a package can start.

    Raises:
        StartupError: it cannot.
    """
    if importlib.util.find_spec(package) is None:
        raise StartupError(f"{package} is not installed here: install lorekeep[cpu] or lorekeep[cuda].")


def _settings() -> Settings:
    """Read the settings, and say on stderr which variables of the environment are none."""
    stderr = Console(stderr=True, highlight=False, markup=False, emoji=False)
    for sentence in misspelt(os.environ):
        stderr.print(printable(sentence), style="yellow", soft_wrap=True)
    return load_settings()


def _become(module: str, needs: str = "") -> None:
    _settings()
    if needs:
        check_installed(needs)
    os.execv(sys.executable, [sys.executable, "-m", module])
