"""The prompt that holds passages: one form, for modes `context` and `both`, and for the teacher of a distillation."""

from collections.abc import Sequence


def question_with_passages(passages: Sequence[str], question: str) -> str:
    """Return a user's message that asks with passages before the question."""
    quoted = "\n\n".join(passages)
    return f"Answer from these passages:\n\n{quoted}\n\nQuestion: {question}"
