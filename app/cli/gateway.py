"""The command line's client of a gateway: where it is, which key, and what its errors mean."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import stamina
import typer
from httpx_sse import EventSource, connect_sse

from app.core.errors import InvalidValue
from app.core.lifecycle import TERMINAL
from app.settings import Settings, load_settings, url_of

_RESTART_S = 90.0  # a gateway that restarts gets so long before a command that waits gives up
_SILENCE_S = 60.0  # the gateway says every ten seconds that an event stream is alive
_EMPTY_STREAMS = 5
_HERE = ("127.0.0.1", "localhost", "::1")


class GatewayError(Exception):
    """The gateway refused, or cannot be reached; the text is a sentence for the user.

    Attributes:
        status: the reply's; 0 where there was none.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@contextmanager
def gateway(context: typer.Context) -> Iterator[httpx.Client]:
    """Open a client of the gateway at LOREKEEP_URL with the key LOREKEEP_API_KEY, else this machine's own.

    Args:
        context: its object is the transport to use; None for the network.

    Raises:
        GatewayError: there is no key, or the gateway cannot be reached.
    """
    url, headers = whereabouts()
    try:
        with _client(url, headers, context.obj) as client:
            yield client
    except httpx.ConnectError as error:
        raise GatewayError(f"No gateway answers at {url}: start it with `make up`, or set LOREKEEP_URL.") from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeError) as error:  # the last of a name such as a..b
        raise GatewayError(f"LOREKEEP_URL is {url}: set it to one that begins with http:// or https://.") from error
    except httpx.TransportError as error:
        raise GatewayError(f"The connection to {url} broke ({type(error).__name__}): try again.") from error


def _client(url: str, headers: dict[str, str], transport: httpx.BaseTransport | None) -> httpx.Client:
    by_proxy = httpx.URL(url).host not in _HERE  # else it is shown the key of a gateway that it cannot reach
    timeout = httpx.Timeout(600, connect=10)
    try:
        return httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport, trust_env=by_proxy)
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:  # not `url`, which was parsed above
        raise GatewayError(
            f"What the environment says of proxies or certificates cannot be used ({str(error).rstrip('.')}): "
            "check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE."
        ) from error


def whereabouts() -> tuple[str, dict[str, str]]:
    """Return the gateway's address and the headers that show it a key.

    Raises:
        GatewayError: there is no key, or it cannot be one.
    """
    settings = load_settings()
    url = settings.url or url_of(settings.host, settings.port)
    return url, {"Authorization": f"Bearer {_key(settings)}"}


def call(client: httpx.Client, method: str, path: str, **options: Any) -> dict[str, Any]:
    """Send one request and return the reply's JSON.

    Raises:
        GatewayError: the gateway refused; the text is its own.
        InvalidValue: a file's name or an argument is not UTF-8.
    """
    try:
        reply = client.request(method, path, **options)
    except UnicodeEncodeError as error:
        raise InvalidValue(
            "A file's name, or what was typed, is not UTF-8: rename the file, or use a terminal in UTF-8."
        ) from error
    check(reply)
    try:
        fields: dict[str, Any] = reply.json()
    except ValueError as error:
        raise GatewayError(f"{reply.url} does not answer as a gateway does: check LOREKEEP_URL.") from error
    return fields


def call_pages(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Return all that a list holds, page after page."""
    rows: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = call(client, "GET", path, params={"limit": 100, **({"after": after} if after else {})})
        rows += page["data"]
        after = page["next"] if page["has_more"] else None
    return rows


def check(reply: httpx.Response) -> None:
    """Raise what the gateway refused with.

    Raises:
        GatewayError: the text is the gateway's own.
    """
    if reply.is_success:
        return
    reply.read()
    try:
        message = str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"The gateway answered {reply.status_code}."
    raise GatewayError(message, reply.status_code)


def events(client: httpx.Client, path: str) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Yield the events of a memory or guard, of what happened already and of what happens, until it is over.

    Each with when it happened, in seconds, which its id begins with. A stream that breaks, with the gateway or without,
    is opened again where it broke.
    """
    last, empty = "", 0
    while empty < _EMPTY_STREAMS:
        empty += 1
        try:
            with ExitStack() as stack:
                for event in _listen(stack, client, path, last).iter_sse():
                    last, empty = event.id or last, 0
                    if event.data:  # a comment comes as an event without, once an event had an id
                        yield event.event, json.loads(event.data), int(last.partition("-")[0]) / 1000
        except httpx.TransportError:
            continue
        if _read(client, path)["status"] in TERMINAL:
            return
    raise GatewayError("The gateway ends the stream of events at once: ask again with `lorekeep memories show`.")


def _passes(error: Exception) -> bool:
    """Say whether an error may be gone in a moment."""
    return isinstance(error, httpx.TransportError) or (isinstance(error, GatewayError) and error.status >= 500)


@stamina.retry(on=_passes, attempts=None, timeout=_RESTART_S, wait_initial=0.2, wait_max=3.0)
def _listen(stack: ExitStack, client: httpx.Client, path: str, last: str) -> EventSource:
    """Open the stream of events after one."""
    headers = {"Last-Event-ID": last} if last else {}
    timeout = httpx.Timeout(_SILENCE_S, connect=10)
    source = stack.enter_context(connect_sse(client, "GET", f"{path}/events", headers=headers, timeout=timeout))
    check(source.response)
    if "text/event-stream" not in source.response.headers.get("content-type", ""):
        raise GatewayError(f"{source.response.url} does not answer as a gateway does: check LOREKEEP_URL.")
    return source


@stamina.retry(on=_passes, attempts=None, timeout=_RESTART_S, wait_initial=0.2, wait_max=3.0)
def _read(client: httpx.Client, path: str) -> dict[str, Any]:
    return call(client, "GET", path)


def _key(settings: Settings) -> str:
    given = settings.api_key or settings.admin_key
    key = given.get_secret_value() if given else _own_key(settings.home / "admin.key")
    if not key:
        raise GatewayError("There is no API key: set LOREKEEP_API_KEY, or run this beside `lorekeep up`.")
    if not key.isascii():
        raise GatewayError("An API key is plain ASCII, and this one is not: set LOREKEEP_API_KEY to all of the key.")
    return key


def _own_key(file: Path) -> str:
    """Return this machine's own key; empty where there is none."""
    try:
        return file.read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise GatewayError(f"{file} cannot be read ({error.strerror}): set LOREKEEP_API_KEY.") from error
