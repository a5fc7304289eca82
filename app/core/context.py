"""The messages that hold passages: one form, for modes `context` and `both`, and for the teacher of a distillation."""

from collections.abc import Mapping, Sequence
from typing import Any


def with_passages(
    messages: Sequence[Mapping[str, Any]], passages: Sequence[str], *, takes_system: bool
) -> list[dict[str, Any]]:
    """Return a chat with passages to answer its last message from.

    They are put into the system's message, after what it says already: the user's stays as it was, which is the form
    in which an adapter learned its questions.

    Args:
        messages: the last one is the user's, as text.
        takes_system: whether the base model's chat template shows a system message; where it has none, the passages
            come before the question in the user's.
    """
    chat = [dict(one) for one in messages]
    if not takes_system:
        chat[-1]["content"] = "\n\n".join([*passages, chat[-1]["content"]])
    elif chat[0].get("role") == "system":
        chat[0]["content"] = _after(chat[0].get("content"), "\n\n".join(passages))
    else:
        chat.insert(0, {"role": "system", "content": "\n\n".join(passages)})
    return chat


def _after(content: Any, text: str) -> Any:
    if isinstance(content, list):
        return [*content, {"type": "text", "text": text}]
    return f"{content}\n\n{text}" if content else text
