"""Where an answer leaves its language, in the tokens that were generated: nothing is ever tokenised again.

A character's token is found by decoding the generated ids cumulatively. A character may span several tokens, whose
bytes decode to U+FFFD until the last one: the confusion point is then the first of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.languages.detector import Verdict

Ids = tuple[int, ...]
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class Judge(Protocol):
    """Knows one language."""

    def find(self, text: str, prompt: str) -> int | None:
        """Return where an answer first leaves the language, in characters; None where it never does."""

    def classify(self, fragment: str) -> Verdict:
        """Say what a piece of a text is, which may be as short as a token."""


@dataclass(frozen=True)
class Prompt:
    """A question as a user asks it, and as the model sees it."""

    text: str
    ids: Ids


@dataclass(frozen=True)
class Answer:
    """What a policy said to a prompt; its last token is the end token where it came to an end."""

    prompt: Prompt
    ids: Ids


def before_confusion(tokenizer: Any, answer: Answer, judge: Judge) -> Ids | None:
    """Return the prompt and what was said before the answer first left the language; None for a clean answer."""
    place = judge.find(decode(tokenizer, answer.ids), answer.prompt.text)
    if place is None:
        return None
    return answer.prompt.ids + answer.ids[: token_at(tokenizer, answer.ids, place)]


def token_at(tokenizer: Any, ids: Sequence[int], place: int) -> int:
    """Return the index of the token that begins the character at `place` of the decoded text."""
    low, high = 0, len(ids) - 1  # the first token after which the character is there
    while low < high:
        middle = (low + high) // 2
        if len(decode(tokenizer, ids[: middle + 1])) > place:
            high = middle
        else:
            low = middle + 1
    while low and _decode(tokenizer, ids[:low]).endswith(_UNFINISHED):
        low -= 1
    return low


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return the text of generated tokens, without special ones and without a character that is not finished."""
    return _decode(tokenizer, ids).rstrip(_UNFINISHED)


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
