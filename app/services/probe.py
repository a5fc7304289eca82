"""Asking an engine for the first token of an answer, to see whether an adapter knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.knowing import FirstToken, Knowledge, compare
from app.core.names import BASE
from app.engines.fleet import Seat
from app.services.send import CHAT, Sender

_LISTED = 20  # what engines list at most
_KEPT = ("messages", "prompt", "chat_template_kwargs")


@dataclass
class Probe:
    """One request's look at what adapters would say; the base model is asked once.

    Attributes:
        seats: where each adapter was asked, to tell whether it had to be loaded.
    """

    sender: Sender
    path: str
    body: Mapping[str, Any]
    seats: dict[str, Seat] = field(default_factory=dict)
    _base: FirstToken | None = None

    async def ask(self, adapter: str, salt: str, base_salt: str) -> Knowledge | None:
        """Compare an adapter's first token with the base model's; None where an answer would be empty."""
        self.seats[adapter], reply = await self.sender.complete(adapter, self.path, self._sent(adapter, salt))
        said = _first_token(reply)
        if self._base is None:
            _, reply = await self.sender.complete(None, self.path, self._sent(BASE, base_salt))
            self._base = _first_token(reply)
        return compare(said, self._base) if said.logprobs and self._base.logprobs else None

    def _sent(self, model: str, salt: str) -> dict[str, Any]:
        kept = {name: self.body[name] for name in _KEPT if name in self.body}
        listed = {"logprobs": True, "top_logprobs": _LISTED} if self.path == CHAT else {"logprobs": _LISTED}
        return {"model": model, **kept, **listed, "max_tokens": 1, "temperature": 0, "cache_salt": salt}


def _first_token(reply: Mapping[str, Any]) -> FirstToken:
    found = reply["choices"][0].get("logprobs") or {}
    if "content" in found:
        listed = [(one["token"], one["logprob"]) for token in found["content"][:1] for one in token["top_logprobs"]]
    else:
        listed = [pair for token in (found.get("top_logprobs") or [])[:1] for pair in (token or {}).items()]
    return FirstToken(dict(listed))
