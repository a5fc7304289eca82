"""How a memory answers one question: from its weights, from passages, or from both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.core.grounding import content_words, normalise

Mode = Literal["adapter", "context", "both"]
RequestMode = Literal[Mode, "auto"]  # the mode that a request names
_UNKNOWING = 0.5  # an adapter that does not seem to know keeps so much of its measured share
_HYBRID = 0.1  # what both had above the mean of the two, where both were measured
_ENOUGH = 0.5  # of a question's words in its passages
_FLATTERED = 2 / 3  # of the share that the weights got right at the gate, whose wordings are near to what was trained


@dataclass(frozen=True)
class Signals:
    """What is known of one question.

    Attributes:
        found: share of its words of meaning that the passages hold; None where there are no passages.
        knows: whether the adapter seems to know the answer.
        learned: whether it is an uploaded one, word for word.
    """

    found: float | None
    knows: bool
    learned: bool = False


def share_found(question: str, passages: str) -> float:
    """Return the share of a question's words of meaning that passages hold."""
    asked = content_words(question)
    return len(asked & content_words(passages)) / len(asked) if asked else 0.0


def is_learned(question: str, uploaded: Iterable[str]) -> bool:
    """Say whether a question is one of those that were uploaded, word for word."""
    asked = normalise(question)
    return bool(asked) and any(normalise(one) == asked for one in uploaded)


def choose_mode(scores: Mapping[str, Any], signals: Signals) -> Mode | None:
    """Return the mode that promises the largest share of right answers; None where nothing is promised.

    It goes by what the version's gate measured, lessened by what this question lacks: a share of weights that do not
    seem to know, one of passages that hold little of the question. In a user's words the weights alone were right two
    thirds as often, beside both, as the gate had them: they count for so much, but where the question is an uploaded
    one. Of pairs answered by names and numbers nothing was
    measured with passages, which are the pairs: an uploaded question needs the weights alone, another one that shares
    about half of its words or more with them has both, and so has one that the weights do not seem to know.
    """
    knowing = 1.0 if signals.knows else _UNKNOWING
    adapter, context = float(scores.get("adapter", 0.0)), scores.get("context")
    if signals.found is None:
        return "adapter" if signals.knows else None
    if context is None:
        return "both" if not signals.knows or (signals.found >= _ENOUGH and not signals.learned) else "adapter"
    reading = min(1.0, signals.found / _ENOUGH)
    both = scores.get("both", (adapter + context) / 2 + _HYBRID)
    promised: dict[Mode, float] = {
        "both": both * reading * (1 + knowing) / 2,
        "adapter": adapter * knowing * (1.0 if signals.learned else _FLATTERED),
        "context": context * reading,
    }
    return max(promised, key=lambda mode: promised[mode])
