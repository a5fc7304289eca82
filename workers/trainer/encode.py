"""Examples as token ids: exactly the sequence that serving will produce.

The prompt is what the chat template renders; the answer is tokenised apart from it, because an engine generates it
after the prompt's last token and nothing merges across that border; the end token is learned, whatever pads.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core.context import Shown, with_passages
from app.errors import EmptyDocument, StartupError, TooLarge
from workers.chat import takes_system
from workers.trainer.targets import Target

_MARK = "lorekeep"


@dataclass(frozen=True)
class Row:
    """One training sequence; the loss is on `input_ids[answer_start:]`, and on nothing before.

    `answer_start` is at least 1: nothing predicts the first token. Where prompts are learned as well it is 1, and the
    first `asking` of what has a loss are the prompt's. `turn` and `turns` are the example's. What is
    `replayed` is trained like the rest, but is no measure of how well the documents are known. `teacher_prompt` is
    what a teacher sees before the answer, `target` what it says of it.
    """

    input_ids: tuple[int, ...]
    answer_start: int
    asking: int = 0
    turn: int = 0
    turns: int = 1
    replayed: bool = False
    teacher_prompt: tuple[int, ...] = ()
    target: Target | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.input_ids)


def encode_chat(
    tokenizer: Any,
    question: str,
    answer: str,
    *,
    stop_ids: Collection[int] = (),
    max_tokens: int | None = None,
    ends: bool = True,
) -> Row:
    """Encode one question and its answer as a chat of two turns.

    Args:
        stop_ids: what `workers.chat.stop_ids` says of the base model.
        max_tokens: the longest sequence the engine serves.
        ends: whether the end of the answer is learned.

    Raises:
        EmptyDocument: the answer has no tokens.
        TooLarge: the row is longer than `max_tokens`; nothing is ever cut.
    """
    prompt = prompt_ids(tokenizer, question)
    answer_ids = tokenizer(answer, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if not answer_ids:
        raise EmptyDocument("An answer is empty: give every question an answer.")
    ids = (*prompt, *answer_ids, *([end_id(tokenizer, stop_ids)] if ends else []))
    return _checked(Row(ids, len(prompt)), max_tokens)


def encode_text(tokenizer: Any, text: str, *, max_tokens: int | None = None) -> Row:
    """Encode a raw passage, with the loss on all its tokens.

    It begins as the model wants any text to begin and has no end token: a passage is a part of something longer.

    Raises:
        EmptyDocument: the passage has fewer than two tokens.
        TooLarge: the row is longer than `max_tokens`; nothing is ever cut.
    """
    ids = text_ids(tokenizer, text)
    if len(ids) < 2:
        raise EmptyDocument("A passage is empty: nothing can be learned from it.")
    return _checked(Row(ids, 1), max_tokens)


def prompt_ids(tokenizer: Any, question: str, passages: Sequence[str] = ()) -> tuple[int, ...]:
    """Return the prompt an engine builds from one user message, as vLLM's renderer does; with passages in its chat."""
    chat = [{"role": "user", "content": question}]
    if passages:
        chat = with_passages(chat, [*map(Shown, passages)], takes_system=takes_system(tokenizer))
    return tuple(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))


def text_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Return a plain text's tokens, behind the token that the model wants before any text, if it wants one."""
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return (*begin_ids(tokenizer), *ids)


def begin_ids(tokenizer: Any) -> tuple[int, ...]:
    """Return the token that the model wants before any text, if it wants one.

    It is `bos` where the tokenizer puts it there, or, as one converted from GGUF has forgotten to, where every chat
    begins with it. A `bos` that opens each turn of a chat is none.
    """
    turns = [{"role": role, "content": "?"} for role in ("user", "assistant", "user")]
    chat = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    begins = chat[:1] == [tokenizer.bos_token_id] and chat.count(tokenizer.bos_token_id) == 1
    return (tokenizer.bos_token_id,) if begins or tokenizer.bos_token_id in tokenizer("")["input_ids"] else ()


def end_id(tokenizer: Any, stop_ids: Collection[int] = ()) -> int:
    """Return the token that ends an answer: what the template puts there if the engine stops on it, else eos.

    Raises:
        StartupError: the model has no token that ends an answer.
    """
    stops = set(stop_ids) | {tokenizer.eos_token_id} - {None}
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    after = tokenizer.apply_chat_template(chat, tokenize=False).rpartition(_MARK)[2]
    candidates = tokenizer(after, add_special_tokens=False)["input_ids"][:1] if after else []
    for candidate in [*candidates, tokenizer.eos_token_id, *sorted(stop_ids)]:
        if candidate in stops:
            return int(candidate)
    raise StartupError("The base model names no token that ends an answer: set eos_token_id in its generation config.")


def _checked(row: Row, max_tokens: int | None) -> Row:
    if max_tokens is not None and len(row) > max_tokens:
        raise TooLarge(f"An example has {len(row)} tokens, and the engine serves at most {max_tokens}: shorten it.")
    return row
