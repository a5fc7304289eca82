"""The command line, `lorekeep`: the processes of this machine, and a client of a gateway's API."""

from app.cli.commands import main

__all__ = ["main"]
