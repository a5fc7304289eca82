"""The running vLLM engine, reached from inside its API server: the one module that calls vLLM's objects.

Never loads in place and never pins in vLLM: a pinned slot that vLLM needs makes its engine step raise.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import uuid4

from app.errors import AdapterRejected, EngineFailed

Adapter = tuple[str, int, str]  # name, id, folder


class Engine(Protocol):
    """What the set of adapters needs of an engine. Ids are never given twice in a process's life."""

    def next_id(self) -> int: ...

    async def add(self, name: str, number: int, folder: str) -> None: ...

    async def remove(self, number: int) -> None: ...

    async def held(self) -> set[int]: ...

    async def score(self, adapter: Adapter | None, prompt: Sequence[int], answer: Sequence[int]) -> list[float]: ...

    def register(self, name: str, number: int, folder: str) -> None: ...

    def unregister(self, name: str) -> None: ...


class VllmEngine:
    """vLLM's engine client and its list of served models."""

    def __init__(self, client: Any, models: Any) -> None:
        """Wrap the API server's objects.

        Args:
            client: `app.state.engine_client`.
            models: `app.state.openai_serving_models`.
        """
        self._client = client
        self._models = models

    def next_id(self) -> int:
        """Return an id that no adapter of this process has had; vLLM's own counter, in case it counts too."""
        return int(self._models.lora_id_counter.inc(1))

    async def add(self, name: str, number: int, folder: str) -> None:
        """Load an adapter; nobody can ask for it by name yet.

        Raises:
            AdapterRejected: vLLM cannot load the files.
            EngineFailed: the engine is dead.
        """
        try:
            await self._client.add_lora(_request(name, number, folder))
        except Exception as error:  # vLLM raises it bare for whatever failed in its engine
            if self._client.errored:
                raise EngineFailed("The engine has stopped.") from error
            raise AdapterRejected(f"The engine cannot load the adapter: {_last_line(error)}") from error

    async def remove(self, number: int) -> None:
        """Drop an adapter's weights; one that is not there is no error."""
        await self._client.remove_lora(number)

    async def held(self) -> set[int]:
        """Return the ids of the adapters whose weights the engine holds."""
        return set(await self._client.list_loras())

    async def score(self, adapter: Adapter | None, prompt: Sequence[int], answer: Sequence[int]) -> list[float]:
        """Return the log-probability, in nats, of each answer token after the prompt, with an adapter or without.

        Each token is one request that may say nothing else; vLLM takes the score before it forbids the others. Its
        scores of a prompt would be one request, but they kill a CPU engine that has another one in its batch. The
        salt keeps the scored blocks out of every other request's prefix cache.

        Raises:
            AdapterRejected: vLLM refuses the tokens.
        """
        salt = f"canary-{uuid4().hex}"
        lora = _request(*adapter) if adapter else None
        prompts = [[*prompt, *answer[:place]] for place in range(len(answer))]
        first = await self._score(prompts[0], answer[0], salt, lora)  # leaves its prefix in the cache to the others
        rest = zip(prompts[1:], answer[1:], strict=True)
        return [first, *await asyncio.gather(*[self._score(ids, token, salt, lora) for ids, token in rest])]

    async def _score(self, ids: list[int], token: int, salt: str, lora: Any) -> float:
        from vllm import SamplingParams, TokensPrompt  # noqa: PLC0415 - exists only inside vLLM's server
        from vllm.exceptions import VLLMClientError  # noqa: PLC0415
        from vllm.sampling_params import RequestOutputKind  # noqa: PLC0415

        params = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            logprobs=0,
            allowed_token_ids=[token],
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        prompted = TokensPrompt(prompt_token_ids=ids, cache_salt=salt)
        try:
            replies = self._client.generate(prompted, params, f"{salt}-{len(ids)}", lora_request=lora)
            said = [output async for output in replies][-1]
        except VLLMClientError as error:  # such as a token outside the vocabulary
            raise AdapterRejected(f"The engine cannot score the canary: {_last_line(error)}") from error
        return float(said.outputs[0].logprobs[0][token].logprob)

    def register(self, name: str, number: int, folder: str) -> None:
        """Let requests ask for the adapter by name."""
        self._models.lora_requests[name] = _request(name, number, folder)

    def unregister(self, name: str) -> None:
        """Let no new request ask for the adapter."""
        self._models.lora_requests.pop(name, None)


def _request(name: str, number: int, folder: str) -> Any:
    from vllm.lora.request import LoRARequest  # noqa: PLC0415 - exists only inside vLLM's server

    return LoRARequest(lora_name=name, lora_int_id=number, lora_path=folder)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:500]
