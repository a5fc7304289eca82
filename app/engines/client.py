"""The client of one engine: its adapters and its OpenAI endpoints, errors translated to ours.

An idle connection that the engine closed fails now and then; what is safe to repeat is repeated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import stamina
from pydantic import SecretStr

from app.core.composition import Composition
from app.core.engines import Residency
from app.core.names import BASE
from app.errors import (
    AdapterBusy,
    AdapterRejected,
    Busy,
    CompositeRejected,
    Conflict,
    EngineFailed,
    EngineTimeout,
    InvalidRequest,
    ModelNotFound,
    ServiceError,
    TooLarge,
)

_ADAPTERS = "/internal/adapters"
_BY_CODE: dict[str, type[ServiceError]] = {
    "slots_full": Busy,
    "adapter_busy": AdapterBusy,
    "adapter_rejected": AdapterRejected,
    "composite_rejected": CompositeRejected,
}
_BY_STATUS: dict[int, type[ServiceError]] = {
    400: InvalidRequest,
    404: ModelNotFound,
    409: Conflict,
    413: TooLarge,
    422: InvalidRequest,
    429: Busy,
}
_HEALTH_S = 5.0
_UNANSWERED = (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


@dataclass(frozen=True)
class Loaded:
    """One load; `cold` says that the adapter had to be brought in, `facts` how a composite was made."""

    load_ms: float
    cold: bool
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """What one engine holds."""

    resident: dict[str, Residency]
    pinned: frozenset[str]


def engine_http(**options: Any) -> httpx.AsyncClient:
    """Return what reaches engines: directly, for a proxy of the environment must not see their key."""
    return httpx.AsyncClient(trust_env=False, **options)


class EngineClient:
    """Talks to any engine by its address. The caller owns `http`, its limits and its timeout.

    Attributes:
        answered: how many completions engines have given so far.
    """

    def __init__(self, http: httpx.AsyncClient, key: SecretStr) -> None:
        self._http, self.answered = http, 0
        self._headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key.get_secret_value() else {}

    # adapters

    async def load(self, url: str, name: str) -> Loaded:
        """Make the engine hold the adapter; done at once if it does.

        Raises:
            ModelNotFound: the artifact store does not hold it.
            AdapterRejected: it is not fit to serve.
            Busy: every slot of the engine is in use.
            EngineFailed: the engine did not answer, or with an error of its own.
        """
        fields = await self._repeat("POST", f"{url}{_ADAPTERS}", {"name": name})
        return Loaded(fields["load_ms"], fields["cold"])

    async def compose(self, url: str, composition: Composition) -> Loaded:
        """Make the engine hold a composite, built first where it is not there.

        Raises:
            ModelNotFound: the artifact store does not hold a member.
            CompositeRejected: it broke; the text has the figures.
            AdapterRejected, Busy, EngineFailed: as in `load`.
        """
        fields = await self._repeat("POST", f"{url}{_ADAPTERS}/compose", composition.to_dict())
        if fields["name"] != str(composition.name):
            raise EngineFailed("An engine of another release names composites differently: update it.")
        return Loaded(fields["load_ms"], fields["cold"], fields["facts"])

    async def purge(self, url: str, tenant: str, memory_id: str, *, files: bool) -> list[str]:
        """Make the engine let go of every composite of a memory; return their names.

        Args:
            files: whether to erase them, and copies of the memory, as well as to unload them.

        Raises:
            AdapterBusy, EngineFailed: as in `remove`.
        """
        body = {"tenant": tenant, "memory_id": memory_id, "files": files}
        return list((await self._repeat("POST", f"{url}{_ADAPTERS}/purge", body))["composites"])

    async def remove(self, url: str, name: str) -> bool:
        """Make the engine drop the adapter once its requests have ended; False if it did not hold it.

        Raises:
            AdapterBusy: its requests did not end in time.
            EngineFailed: the engine did not answer, or with an error of its own.
        """
        return bool((await self._repeat("DELETE", f"{url}{_ADAPTERS}/{name}"))["removed"])

    async def list(self, url: str) -> Listing:
        """Return what the engine holds."""
        rows = (await self._repeat("GET", f"{url}{_ADAPTERS}"))["data"]
        pinned = frozenset(row["name"] for row in rows if row.pop("pinned"))
        return Listing({row.pop("name"): Residency(**row) for row in rows}, pinned)

    async def pin(self, url: str, name: str) -> None:
        """Keep the engine from evicting an adapter it holds.

        Raises:
            ModelNotFound: it does not hold it.
        """
        await self._repeat("POST", f"{url}{_ADAPTERS}/{name}/pin")

    async def unpin(self, url: str, name: str) -> None:
        """Let the engine evict an adapter it holds.

        Raises:
            ModelNotFound: it does not hold it.
        """
        await self._repeat("POST", f"{url}{_ADAPTERS}/{name}/unpin")

    # OpenAI endpoints

    async def chat(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for one chat completion, not streamed.

        Raises:
            InvalidRequest: vLLM refuses the body; the text is vLLM's.
            ModelNotFound: the engine does not hold the model.
            EngineFailed: the engine did not answer, or with an error of its own.
        """
        return await self._ask(f"{url}/v1/chat/completions", body)

    async def complete(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for one text completion, not streamed; raises what `chat` does."""
        return await self._ask(f"{url}/v1/completions", body)

    async def tokenize(self, url: str, text: str) -> tuple[int, ...]:
        """Return a text's tokens by the base model's tokenizer, none of them special; raises what `chat` does."""
        body = {"model": BASE, "prompt": text, "add_special_tokens": False}
        fields = await self._repeat("POST", f"{url}/tokenize", body)
        return tuple(map(int, fields["tokens"]))

    async def open_stream(self, url: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Begin a streamed answer and return it unread once its status is 200; the caller closes it.

        Raises what `chat` does. Nothing is repeated once the engine has begun to answer.
        """
        response = await self._send("POST", f"{url}{path}", body, stream=True)
        if response.status_code != httpx.codes.OK:
            try:
                await response.aread()
            except httpx.TransportError as error:
                raise EngineFailed("An engine broke off in its answer.") from error
            finally:
                await response.aclose()
            raise _translate(response)
        return response

    async def healthy(self, url: str) -> bool:
        """Say whether the engine answers and vLLM calls itself healthy. Tried once."""
        try:
            response = await self._http.get(f"{url}/health", headers=self._headers, timeout=_HEALTH_S)
        except httpx.TransportError:
            return False
        return response.status_code == httpx.codes.OK

    async def _ask(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        said = await self._repeat("POST", url, body)
        self.answered += 1
        return said

    async def _repeat(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        response = await self._send(method, url, body)
        if response.status_code != httpx.codes.OK:
            raise _translate(response)
        try:
            fields: dict[str, Any] = response.json()
        except ValueError as error:
            raise EngineFailed("An engine's answer was not JSON.") from error
        return fields

    async def _send(
        self, method: str, url: str, body: Mapping[str, Any] | None, *, stream: bool = False
    ) -> httpx.Response:
        """Send until the engine begins to answer; a request that it never answered is sent again."""
        try:
            async for attempt in stamina.retry_context(on=_UNANSWERED, attempts=3, wait_initial=0.05, wait_jitter=0.05):
                with attempt:
                    request = self._http.build_request(method, url, json=body, headers=self._headers)
                    return await self._http.send(request, stream=stream)
        except httpx.ConnectTimeout as error:
            raise EngineFailed("An engine cannot be reached.") from error
        except httpx.TimeoutException as error:
            raise EngineTimeout("An engine did not answer in time.") from error
        except httpx.TransportError as error:
            raise EngineFailed("An engine cannot be reached.") from error
        raise AssertionError("unreachable: the last attempt returns or raises")


def _translate(response: httpx.Response) -> ServiceError:
    """Return the error that an engine's reply means; both vLLM's and the guard's have OpenAI's shape."""
    try:
        error = response.json()["error"]
        message, code, param = error["message"], error.get("code"), error.get("param")
    except (ValueError, LookupError, TypeError):
        message, code, param = "An engine answered with an error that cannot be read.", None, None
    kind = _BY_CODE.get(str(code)) or _BY_STATUS.get(response.status_code, EngineFailed)
    return kind(str(message), param if isinstance(param, str) else None)
