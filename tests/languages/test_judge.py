"""A language's policy as the judge of what could be said at a confusion point."""

import pytest

from app.languages.policies import policy_for
from workers.languages.judge import PolicyJudge

SHORT = [
    "Yes, of course.",
    "The answer is 42.",
    "Sure!\n\nHere is a list:",
    "1. The sun\n2. The moon",
    "Paris",
    "42",
    "",
]
SENTENCES = {
    "de": "Das ist eine gute Frage, und ich antworte gern.",
    "es": "Esta es una buena pregunta y respondo con gusto.",
    "fr": "C'est une bonne question, et j'y réponds volontiers.",
    "en": "That is a good question, and I answer it gladly.",
}


@pytest.mark.parametrize("language", ["de", "es", "fr"])
@pytest.mark.parametrize("fragment", SHORT)
def test_in_shared_letters_a_fragment_too_short_to_be_identified_earns_nothing(language: str, fragment: str) -> None:
    assert PolicyJudge(policy_for(language)).classify(fragment) == "neutral"


@pytest.mark.parametrize("language", ["de", "es", "fr"])
def test_in_shared_letters_a_line_tells_what_a_fragment_is(language: str) -> None:
    judge = PolicyJudge(policy_for(language))

    assert {code: judge.classify(f"\n{text}") for code, text in SENTENCES.items()} == {
        code: "target" if code == language else "off" for code in SENTENCES
    }
    assert judge.classify(f"{SENTENCES[language]}\n{SENTENCES['en']}") == "off"
    assert judge.classify("привет") == "off"


def test_in_a_script_of_its_own_a_letter_tells_what_a_fragment_is() -> None:
    judge = PolicyJudge(policy_for("ko", strict=True))

    assert [judge.classify(one) for one in ("네", "네 yes", "42")] == ["target", "off", "neutral"]
