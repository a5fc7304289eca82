"""Reading a request's JSON body once, and handing it on as if it had not been read."""

import json
from typing import Any

from starlette.types import Message, Receive, Scope

from app.errors import InvalidRequest, TooLarge, UnsupportedParameter


class Disconnected(Exception):
    """The client left before its body was whole."""


async def read_json(receive: Receive, most_bytes: int) -> dict[str, Any]:
    """Read the whole body as one JSON object.

    Raises:
        TooLarge: it is above `most_bytes`.
        InvalidRequest: it is not a JSON object.
        Disconnected: the client left.
    """
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > most_bytes:
            raise TooLarge(f"The request is above {most_bytes} bytes.")
    try:
        body = json.loads(b"".join(parts))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The request's body is not JSON.") from error
    if not isinstance(body, dict):
        raise InvalidRequest("The request's body is not a JSON object.")
    return body


def replay(scope: Scope, receive: Receive, body: dict[str, Any]) -> tuple[Scope, Receive]:
    """Return a scope and a receive that give `body` once and then what the client sends next, such as its leaving.

    The body is written anew, so that the app can read nothing in it that the guard did not.
    """
    content = json.dumps(body).encode()
    headers = [pair for pair in scope["headers"] if pair[0] not in {b"content-length", b"transfer-encoding"}]
    pending: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return {**scope, "headers": [*headers, (b"content-length", str(len(content)).encode())]}, receive_again


def without_prompt_scores(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body, which asks for no scores of its prompt: they kill a CPU engine that runs an adapter beside it.

    Raises:
        UnsupportedParameter: it does ask for them.
    """
    echoed = body.get("echo") and body.get("logprobs") is not None
    if body.get("prompt_logprobs") is not None or echoed:
        raise UnsupportedParameter(
            "Engines without a GPU cannot score a prompt: leave out `prompt_logprobs`, or `echo` with `logprobs`.",
            "echo" if echoed else "prompt_logprobs",
        )
    return body


def without_seed(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without `seed`, which kills a CPU engine at the second batch that has one.

    At temperature 0 a seed changes nothing and is dropped.

    Raises:
        UnsupportedParameter: the temperature is not 0, so the seed was meant.
    """
    temperature = body.get("temperature")
    greedy = isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0
    if body.get("seed") not in (None, -1) and not greedy:
        raise UnsupportedParameter(
            "Engines without a GPU cannot use `seed`: leave it out, or set temperature to 0.", "seed"
        )
    return {name: value for name, value in body.items() if name != "seed"}
