"""A language's policy as the judge of answers and of pieces of them."""

from dataclasses import dataclass

from app.core.guard_recipe import GuardRecipe
from app.languages.detector import Verdict, classify, confusions, find_confusion, is_identified
from app.languages.policies import Policy, policy_for


@dataclass(frozen=True)
class PolicyJudge:
    """Judges by one policy. In a script that other languages share only lines can be told apart, not letters."""

    policy: Policy

    def find(self, text: str, prompt: str) -> int | None:
        """See `Judge`."""
        span = find_confusion(text, self.policy, prompt=prompt)
        return span.start if span else None

    def classify(self, fragment: str) -> Verdict:
        """See `Judge`."""
        verdict = classify(fragment, self.policy)
        if verdict is not Verdict.TARGET or not self.policy.is_latin:
            return verdict
        if confusions(fragment, self.policy):
            return Verdict.OFF
        return Verdict.TARGET if is_identified(fragment, self.policy) else Verdict.NEUTRAL


def judge_of(recipe: GuardRecipe) -> PolicyJudge:
    """Return the judge that a recipe names.

    Raises:
        InvalidValue: the language is not known.
    """
    return PolicyJudge(policy_for(recipe.language, strict=recipe.strict))
