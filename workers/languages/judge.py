"""A language's policy as the judge of answers and of pieces of them."""

from dataclasses import dataclass

from app.core.guard_recipe import GuardRecipe
from app.languages.detector import Verdict, classify, confusions, find_confusion, is_identified
from app.languages.policies import Policy, policy_for
from workers.languages.points import Kind

_KINDS: dict[Verdict, Kind] = {Verdict.TARGET: "target", Verdict.NEUTRAL: "neutral", Verdict.OFF: "off"}


@dataclass(frozen=True)
class PolicyJudge:
    """Judges by one policy. In a script that other languages share only lines can be told apart, not letters."""

    policy: Policy

    def find(self, text: str, prompt: str) -> int | None:
        """See `Judge`."""
        span = find_confusion(text, self.policy, prompt=prompt)
        return span.start if span else None

    def classify(self, fragment: str) -> Kind:
        """See `Judge`."""
        kind = _KINDS[classify(fragment, self.policy)]
        if kind != "target" or not self.policy.is_latin:
            return kind
        if confusions(fragment, self.policy):
            return "off"
        return "target" if is_identified(fragment, self.policy) else "neutral"


def judge_of(recipe: GuardRecipe) -> PolicyJudge:
    """Return the judge that a recipe names.

    Raises:
        InvalidValue: the language is not known.
    """
    return PolicyJudge(policy_for(recipe.language, strict=recipe.strict))
