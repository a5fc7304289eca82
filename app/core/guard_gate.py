"""A guard's gate: may it serve? Decided from what it answered through an engine to prompts it was not trained on."""

from dataclasses import asdict, dataclass
from typing import Any

from app.core.gate import Control, Decision, interval
from app.core.guard_recipe import GuardRecipe

Figures = dict[str, Any]  # of `app.languages.metrics.Consistency`, or of the Language Confusion Benchmark
_SILENT = {"empty": "are empty", "unscorable": "hold no word of the language", "english": "are wholly English"}
_KEPT = {"mean_characters": "length", "distinct": "diversity", "ended": "share of answers that come to an end"}
_SHARES = {"ended"}  # of a few answers these move by chance: their interval counts


@dataclass(frozen=True)
class Side:
    """What one model made of the prompts: its consistency, English-neutral and English-strict.

    Attributes:
        benchmark: `lpr`, `wpr`, `lcpr`, 0-1, of the same answers, shown beside them; nothing is decided by it.
    """

    neutral: Figures
    strict: Figures
    benchmark: Figures


@dataclass(frozen=True)
class GuardScores:
    """A guard beside the model without it, asked the same.

    Attributes:
        language: that the guard keeps to.
        is_strict: which of the two policies the guard was trained on.
        gain: 95 % interval of the rise of that policy's RPR, by bootstrap over prompts; None where nothing is scorable.
        clean_rise, english_rise: of plain text in the language and in English, in nats per token.
        requested: how many prompts ask for foreign text.
        requested_before, requested_after: shares of these that were answered with some, 0-1.
        control: the general questions.
        compression_error: share of the sum's update (Frobenius) that was lost where the engine's greatest rank is below
            both ranks together, 0-1; None for a guard on the base model.
    """

    language: str
    is_strict: bool
    before: Side
    after: Side
    gain: tuple[float, float] | None
    clean_rise: float
    english_rise: float
    requested: int
    requested_before: float
    requested_after: float
    control: Control
    compression_error: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON-ready fields, with the 95 % intervals of the shares."""
        fields = asdict(self)
        for side in (fields["before"], fields["after"]):
            for figures in (side["neutral"], side["strict"]):
                if figures["rpr"] is not None:
                    low, high = interval(figures["rpr"], figures["scorable"])
                    figures["rpr_interval"] = [round(low, 4), round(high, 4)]
        return fields

    def _figures(self, side: Side) -> Figures:
        return side.strict if self.is_strict else side.neutral

    @property
    def judged(self) -> tuple[Figures, Figures]:
        """The figures before and after by the policy that the guard was trained on."""
        return self._figures(self.before), self._figures(self.after)


def decide_guard(scores: GuardScores, recipe: GuardRecipe) -> Decision:
    """Let a guard serve that leaves its language less often and has left the rest alone.

    Answers that say nothing count against it: leaving no word behind is no way of staying in a language.
    """
    reasons = [
        *_of_language(scores),
        *_of_answers(scores, recipe),
        *_of_texts(scores, recipe),
        *_of_others(scores, recipe),
    ]
    return Decision(not reasons, " ".join(reasons))


def _of_language(scores: GuardScores) -> list[str]:
    before, after = scores.judged
    if after["rpr"] is None or before["rpr"] is None:
        return [f"No answer holds a word of {scores.language}, so nothing can be said of it: try other prompts."]
    if after["rpr"] <= before["rpr"]:
        return [
            f"It keeps to {scores.language} in {after['rpr']:.0%} of {after['scorable']} answers, and without it in "
            f"{before['rpr']:.0%}: try more prompts, iterations or steps."
        ]
    return []


def _of_answers(scores: GuardScores, recipe: GuardRecipe) -> list[str]:
    before, after = scores.judged
    reasons = [
        f"{after[name]:.0%} of its answers {told}, and {before[name]:.0%} without it."
        for name, told in _SILENT.items()
        if after[name] > before[name] + recipe.max_silent_rise
    ]
    for name, told in _KEPT.items():
        was, now = before[name], after[name]
        if not was or now is None:
            continue
        low, high = interval(now, after["answers"]) if name in _SHARES else (now, now)
        if max(low / was - 1, 1 - high / was) > recipe.max_drift:
            reasons.append(f"The {told} went from {was:.2f} to {now:.2f}; {recipe.max_drift:.0%} is allowed.")
    return reasons


def _of_texts(scores: GuardScores, recipe: GuardRecipe) -> list[str]:
    tries = "try a lower learning rate, fewer steps or a higher beta"
    limits = {
        scores.language: (scores.clean_rise, recipe.max_clean_rise),
        "English": (scores.english_rise, recipe.max_english_rise),
    }
    return [
        f"It reads plain text in {language} {rise:.3f} nats per token worse, and {most:.3f} is allowed: {tries}."
        for language, (rise, most) in limits.items()
        if rise > most
    ]


def _of_others(scores: GuardScores, recipe: GuardRecipe) -> list[str]:
    reasons, control = [], scores.control
    if control.known and interval(control.kept / control.known, control.known)[1] < recipe.min_kept:
        reasons.append(
            f"Of {control.known} general questions that were answered right without it, it answers {control.kept}, and "
            f"{recipe.min_kept:.0%} is asked for."
        )
    least = recipe.min_kept * scores.requested_before
    if scores.requested and interval(scores.requested_after, scores.requested)[1] < least:
        reasons.append(
            f"Of {scores.requested} prompts for foreign text {scores.requested_after:.0%} are answered with some, "
            f"and {scores.requested_before:.0%} are without it: {recipe.min_kept:.0%} of that is asked for."
        )
    return reasons
