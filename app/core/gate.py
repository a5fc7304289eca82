"""The gate: may a candidate serve? Decided from what it answered through an engine (design decision 5)."""

from dataclasses import asdict, dataclass
from typing import Any

MIN_RECALL = 0.5


@dataclass(frozen=True)
class Scores:
    """Shares of right answers, 0-1, to the same questions.

    Attributes:
        kind: "held_out" where the questions were kept out of training, "recall" where they are the training's own.
        base: the base model's share.
        adapter: the candidate's.
    """

    kind: str
    questions: int
    base: float
    adapter: float

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON-ready fields."""
        return asdict(self)


@dataclass(frozen=True)
class Decision:
    """Whether the candidate may serve; `reason` is a sentence for the user when it may not."""

    passed: bool
    reason: str = ""


def decide(scores: Scores) -> Decision:
    """Let a candidate serve when it answers more of the questions than the base model does.

    Of questions it was trained on, it must answer `MIN_RECALL`. One that nothing could be asked about passes: its
    canary has shown that it differs from the base.
    """
    least = MIN_RECALL if scores.kind == "recall" else 0.0
    if scores.questions == 0 or (scores.adapter > scores.base and scores.adapter >= least):
        return Decision(True)
    return Decision(
        False,
        f"It answers {scores.adapter:.0%} of {scores.questions} questions about the documents and the base model "
        f"{scores.base:.0%}: try more epochs, a higher rank or question/answer pairs.",
    )
