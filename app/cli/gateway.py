"""The command line's client of a gateway: where it is, which key, and what its errors mean."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from app.settings import load_settings

transport: httpx.BaseTransport | None = None  # tests put theirs here


class GatewayError(Exception):
    """The gateway refused, or cannot be reached; the text is a sentence for the user."""


@contextmanager
def gateway() -> Iterator[httpx.Client]:
    """Open a client of the gateway at LOREKEEP_URL with the key LOREKEEP_API_KEY, else this machine's own.

    Raises:
        GatewayError: there is no key, or the gateway cannot be reached.
    """
    url = os.environ.get("LOREKEEP_URL")
    key = os.environ.get("LOREKEEP_API_KEY")
    if not url or not key:
        settings = load_settings()
        file = settings.home / "admin.key"
        url = url or f"http://{settings.host}:{settings.port}"
        key = key or (file.read_text().strip() if file.is_file() else None)
    if not key:
        raise GatewayError("There is no API key: set LOREKEEP_API_KEY, or run this beside `lorekeep up`.")
    headers = {"Authorization": f"Bearer {key}"}
    timeout = httpx.Timeout(600, connect=10)
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport) as client:
            yield client
    except httpx.TransportError as error:
        raise GatewayError(f"No gateway answers at {url}: start it with `make up`, or set LOREKEEP_URL.") from error


def call(client: httpx.Client, method: str, path: str, **options: Any) -> dict[str, Any]:
    """Send one request and return the reply's JSON.

    Raises:
        GatewayError: the gateway refused; the text is its own.
    """
    return _read(client.request(method, path, **options))


def events(client: httpx.Client, memory_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a memory's events, of what happened already and of what happens, until its latest version is over.

    A connection that breaks is opened again where it broke.
    """
    last = ""
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        try:
            with client.stream("GET", f"/v1/memories/{memory_id}/events", headers=headers) as reply:
                if reply.status_code != httpx.codes.OK:
                    reply.read()
                    _read(reply)
                for event_id, kind, data in _sse(reply.iter_lines()):
                    last = event_id
                    yield kind, data
            return
        except (httpx.ReadError, httpx.RemoteProtocolError):
            continue


def _sse(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    event_id, kind, data = "", "message", ""
    for line in lines:
        name, _, value = line.partition(": ")
        match name:
            case "id":
                event_id = value
            case "event":
                kind = value
            case "data":
                data += value
            case "" if data:
                yield event_id, kind, json.loads(data)
                kind, data = "message", ""


def _read(reply: httpx.Response) -> dict[str, Any]:
    if reply.is_success:
        fields: dict[str, Any] = reply.json() if reply.content else {}
        return fields
    try:
        message = reply.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"The gateway answered {reply.status_code}."
    raise GatewayError(message)
