"""The messages that hold passages: one form, for modes `context` and `both`, and for the teacher of a distillation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from app.core.turns import text_of


@dataclass(frozen=True)
class Shown:
    """A passage as a prompt shows it.

    Attributes:
        answer_start: where in the text the answer of an uploaded pair begins, after its question; 0 of prose.
    """

    text: str
    answer_start: int = 0

    @classmethod
    def of_pair(cls, question: str, answer: str) -> Self:
        """Show a question with its answer."""
        return cls(f"{question} {answer}", len(question) + 1)

    @property
    def question(self) -> str:
        """The text up to there; empty of prose."""
        return self.text[: self.answer_start].rstrip()

    @property
    def answer(self) -> str:
        """The text from there on."""
        return self.text[self.answer_start :]

    def turns(self) -> list[dict[str, Any]]:
        """Return a pair as what a user asked and was answered."""
        return [{"role": "user", "content": self.question}, {"role": "assistant", "content": self.answer}]


def with_passages(
    messages: Sequence[Mapping[str, Any]], passages: Sequence[Shown], *, takes_system: bool
) -> list[dict[str, Any]]:
    """Return a chat with passages to answer its last message from.

    Prose is put into the system's message, after what it says already: the user's stays as it was, which is the form
    in which an adapter learned its questions. Pairs are turns before all others, the best next to these: a small model
    answers as it seems to have answered before, where it hardly reads pairs in the system's message.

    Args:
        messages: the last one is the user's, as text.
        passages: best first.
        takes_system: whether the base model's chat template shows a system message; where it has none, prose comes
            before the question in the user's.
    """
    chat = [dict(one) for one in messages]
    prose = "\n\n".join(one.text for one in passages if not one.answer_start)
    if prose and not takes_system:
        chat[-1]["content"] = f"{prose}\n\n{chat[-1]['content']}"
    elif prose:
        if chat[0].get("role") != "system":
            chat.insert(0, {"role": "system", "content": ""})
        chat[0]["content"] = _after(chat[0].get("content"), prose)
    first = 1 if chat[0].get("role") == "system" else 0
    chat[first:first] = [turn for one in reversed(passages) if one.answer_start for turn in one.turns()]
    return chat


def _after(content: Any, text: str) -> str:
    """Return a system's message with a text after it, as one text: of several parts some templates show the first."""
    said = text_of(content)
    return f"{said}\n\n{text}" if said else text
