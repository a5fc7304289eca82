"""The gateway as the command line reaches it: one place that makes the client and reads its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from app.cli.errors import CommandFailed
from app.settings import Settings, load_settings

_PATIENCE = httpx.Timeout(600, connect=5)  # an answer may wait for a cold adapter


@dataclass(frozen=True)
class Connection:
    """How to reach the gateway; tests pass another transport."""

    transport: httpx.BaseTransport | None = None

    @contextmanager
    def open(self) -> Iterator[httpx.Client]:
        """Give a client with the address and the key of the settings.

        Raises:
            CommandFailed: there is no key, the gateway cannot be reached, or it answered with an error.
        """
        settings = load_settings()
        client = httpx.Client(
            base_url=settings.gateway_url,
            headers={"Authorization": f"Bearer {_key(settings)}"},
            timeout=_PATIENCE,
            transport=self.transport,
            event_hooks={"response": [_raise_for_error]},
        )
        try:
            with client:
                yield client
        except httpx.ConnectError as error:
            raise CommandFailed(
                f"No gateway answers at {settings.gateway_url}: start it with `lorekeep up`, or set LOREKEEP_URL."
            ) from error
        except httpx.HTTPError as error:
            raise CommandFailed(
                f"The connection to {settings.gateway_url} broke ({type(error).__name__}): try again."
            ) from error


def _key(settings: Settings) -> str:
    given = settings.api_key or settings.admin_key
    if given:
        return given.get_secret_value()
    path = settings.home / "admin.key"
    try:
        return path.read_text().strip()
    except OSError as error:
        raise CommandFailed(f"There is no key in {path}: set LOREKEEP_API_KEY.", exit_code=2) from error


def _raise_for_error(response: httpx.Response) -> None:
    if response.is_success:
        return
    response.read()
    raise CommandFailed(f"{_message(response)} ({response.status_code})")


def _message(response: httpx.Response) -> str:
    """Return the gateway's own words, or the status where something else answered."""
    try:
        error: Any = response.json()["error"]
        return str(error["message"]).rstrip(".")
    except (ValueError, KeyError, TypeError):
        return f"{response.request.url} answered {response.reason_phrase or 'with an error'}"
