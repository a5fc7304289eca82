"""The gate: may a candidate serve? Decided from what it answered through an engine (design decision 5)."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.core.recipe import Recipe

_Z = 1.96  # of a normal distribution, for 95 %
_EXACT = 1e-9  # what a threshold that is met exactly may be missed by


@dataclass(frozen=True)
class Control:
    """What a candidate made of questions and texts that have nothing to do with its documents.

    Attributes:
        questions: how many general ones there were.
        base, adapter: shares of right answers to them, 0-1.
        known, kept: how many the base model answers right, and how many of these the candidate still does.
        declined, still_declined: the same of requests to decline alone.
        leaked: share of them answered with something from the candidate's documents.
        leaked_other: the same of questions about things that no memory holds.
        perplexity_rise: of plain text, in nats per token above the base model's.
    """

    questions: int
    base: float
    adapter: float
    known: int
    kept: int
    declined: int
    still_declined: int
    leaked: float
    leaked_other: float
    perplexity_rise: float


@dataclass(frozen=True)
class Scores:
    """Shares of right answers, 0-1, to the same questions.

    Attributes:
        kind: "held_out" where the questions were kept out of training, "recall" where they are the training's own.
        base: the base model's share.
        adapter: the candidate's.
        context: the base model's with passages in its prompt, of `context_questions` of them; it decides nothing here.
        both: the candidate's with the same passages.
        recall: the candidate's of `recall_questions` that it was trained on, such as uploaded pairs, asked beside those
            that were held out.
        parts: how many adapters answered, each the questions that selection picked it for.
        routed: the share of questions whose own part was picked.
    """

    kind: str
    questions: int
    base: float
    adapter: float
    control: Control | None = None
    context: float = 0.0
    context_questions: int = 0
    both: float = 0.0
    recall: float = 0.0
    recall_questions: int = 0
    parts: int = 1
    routed: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON-ready fields, with the 95 % intervals of the shares."""
        fields = {
            **asdict(self),
            "base_interval": _rounded(interval(self.base, self.questions)),
            "adapter_interval": _rounded(interval(self.adapter, self.questions)),
        }
        if self.control is None:
            del fields["control"]
        else:
            known = self.control.known
            fields["kept_interval"] = _rounded(interval(self.control.kept / known if known else 0.0, known))
        if self.context_questions:
            for name, share in (("context", self.context), ("both", self.both)):
                fields[f"{name}_interval"] = _rounded(interval(share, self.context_questions))
        else:
            del fields["context"], fields["context_questions"], fields["both"]
        if self.recall_questions:
            fields["recall_interval"] = _rounded(interval(self.recall, self.recall_questions))
        else:
            del fields["recall"], fields["recall_questions"]
        if self.parts == 1:
            del fields["parts"], fields["routed"]
            return fields
        asked = self.questions + self.recall_questions
        return {**fields, "routed_interval": _rounded(interval(self.routed, asked)), "serve": "select"}


@dataclass(frozen=True)
class Decision:
    """Whether the candidate may serve; `reason` is a sentence for the user when it may not."""

    passed: bool
    reason: str = ""


def decide(scores: Scores, recipe: Recipe) -> Decision:
    """Let a candidate serve that knows its documents and has left the rest alone.

    It must answer more of the questions than the base model, by `min_gain`, and of those it was trained on, alone or
    beside held-out ones, `min_recall`. Of the control set it must have kept `min_kept` of what the base model answers
    right, and of what that declines; as these are few, it fails only where the upper end of the 95 % interval is below
    that. One that nothing could be asked about is judged by the control set alone: its canary has shown that it differs
    from the base.
    """
    reasons = _of_documents(scores, recipe) + (_of_control(scores.control, recipe) if scores.control else [])
    return Decision(not reasons, " ".join(reasons))


def worst(controls: Sequence[Control]) -> Control:
    """Return what the parts of a version did to the control set, the worst of each; the base model is the same for all.

    It passes the gate where every part does, for each limit is on one of these numbers.
    """
    return replace(
        controls[0],
        adapter=min(one.adapter for one in controls),
        kept=min(one.kept for one in controls),
        still_declined=min(one.still_declined for one in controls),
        leaked=max(one.leaked for one in controls),
        leaked_other=max(one.leaked_other for one in controls),
        perplexity_rise=max(one.perplexity_rise for one in controls),
    )


def interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of so many.

    Paper: Wilson 1927, Probable inference, the law of succession, and statistical inference, p. 209
    """
    if not count:
        return 0.0, 1.0
    z2 = _Z * _Z / count
    middle, half = share + z2 / 2, _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def _of_documents(scores: Scores, recipe: Recipe) -> list[str]:
    if not scores.questions:
        return []
    told = f"It answers {scores.adapter:.0%} of {scores.questions} questions about the documents"
    tries = "try more epochs, a higher rank or question/answer pairs"
    if scores.parts > 1:
        tries += f" (of {scores.parts} parts the right one was asked {scores.routed:.0%} of them)"
    gain, reasons = scores.adapter - scores.base, []
    if gain <= 0 or gain < recipe.min_gain - _EXACT:
        reasons.append(
            f"{told} and the base model {scores.base:.0%}; a gain of {recipe.min_gain:.0%} is asked for: {tries}."
        )
    elif scores.kind == "recall" and scores.adapter < recipe.min_recall:
        reasons.append(f"{told}, all of which it was trained on; {recipe.min_recall:.0%} is asked for: {tries}.")
    if scores.recall_questions and scores.recall < recipe.min_recall:
        reasons.append(
            f"It recalls {scores.recall:.0%} of {scores.recall_questions} questions that it was trained on; "
            f"{recipe.min_recall:.0%} is asked for: {tries}."
        )
    return reasons


def _of_control(control: Control, recipe: Recipe) -> list[str]:
    tries = "try fewer epochs, a lower learning rate, more replay or a larger recipe.protect or recipe.consolidation"
    reasons = []
    if _is_short(control.kept, control.known, recipe.min_kept):
        reasons.append(
            f"It has forgotten: of {control.known} general questions that the base model answers right it answers "
            f"{control.kept}, and {recipe.min_kept:.0%} is asked for: {tries}."
        )
    if _is_short(control.still_declined, control.declined, recipe.min_kept):
        reasons.append(
            f"Of {control.declined} requests that the base model declines it declines {control.still_declined}, and "
            f"{recipe.min_kept:.0%} is asked for: {tries}."
        )
    if control.perplexity_rise > recipe.max_perplexity_rise:
        reasons.append(
            f"It reads plain text {control.perplexity_rise:.2f} nats per token worse than the base model, and "
            f"{recipe.max_perplexity_rise:.2f} is allowed: {tries}."
        )
    leaks = {"general questions": control.leaked, "questions about things that no memory holds": control.leaked_other}
    for what, leaked in leaks.items():
        if leaked > recipe.max_leaked:
            reasons.append(
                f"It answers {leaked:.0%} of {what} with something from its documents, and "
                f"{recipe.max_leaked:.0%} is allowed: {tries}."
            )
    return reasons


def _is_short(kept: int, of: int, least: float) -> bool:
    """Say whether even the upper end of the interval is short; nothing can be lost of nothing."""
    return of > 0 and interval(kept / of, of)[1] < least - _EXACT


def _rounded(pair: tuple[float, float]) -> list[float]:
    return [round(value, 4) for value in pair]
