"""How consistently answers keep to a language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.languages.metrics import Answer, bootstrap, distinct_2, is_english, score_answer, summarise
from app.languages.policies import policy_for

ANSWERS = [
    Answer("안녕하세요 AI 친구", ended=True),
    Answer("안녕 привет 친구", ended=False),
    Answer("We do not know it."),
    Answer(""),
    Answer("1815"),
]


def test_neutral_leaves_english_out_of_its_denominator_and_says_how_much() -> None:
    found = summarise(ANSWERS, policy_for("ko"))

    assert (found.rpr, found.scorable, found.answers) == (0.5, 2, 5)
    assert found.wpr == pytest.approx(4 / 5)
    assert (found.empty, found.english, found.unscorable, found.ended) == (0.2, 0.2, 0.6, 0.5)


def test_strict_counts_english_words_as_failing() -> None:
    found = summarise(ANSWERS, policy_for("ko", strict=True))

    assert (found.rpr, found.scorable) == (0.0, 3)
    assert found.wpr == pytest.approx(4 / 11)


@pytest.mark.parametrize(
    ("language", "text", "words", "failing"),
    [("ja", "東京へ行きます。привет", 4, 1), ("zh", "我们去公园。привет", 4, 1), ("fr", "Il fait beau привет", 4, 1)],
)
def test_words_are_divided_as_the_language_does(language: str, text: str, words: int, failing: int) -> None:
    scored = score_answer(Answer(text), policy_for(language))

    assert scored.failing == failing
    assert words <= scored.words <= words + 1


@pytest.mark.parametrize(
    ("language", "text", "english"),
    [
        ("ko", "We know.", True),
        ("ko", "We 안녕", False),
        ("ko", "123", False),
        ("fr", "We do not know what this is about.", True),
        ("fr", "Nous ne savons pas de quoi il s'agit.", False),
        ("en", "We do not know what this is about.", False),
    ],
)
def test_an_answer_wholly_in_english_is_told(language: str, text: str, english: bool) -> None:
    assert is_english(text, policy_for(language)) is english


def test_no_answers_have_no_rates() -> None:
    found = summarise([], policy_for("ko"))

    assert (found.rpr, found.wpr, found.ended, found.distinct, found.answers) == (None, None, None, None, 0)


def test_repetition_lowers_diversity() -> None:
    assert distinct_2(["a b c d"], "en") == 1.0
    assert distinct_2(["a b a b a b"], "en") == pytest.approx(2 / 5)
    assert distinct_2(["a"], "en") is None


def test_an_interval_is_the_seeds_own_and_holds_the_figure() -> None:
    prompts = [[1.0], [0.0], [1.0], [1.0]] * 20
    found = bootstrap(prompts, _mean, seed=3)

    assert found is not None
    assert found == bootstrap(prompts, _mean, seed=3)
    assert found[0] < 0.75 < found[1]
    assert bootstrap([], _mean, seed=3) is None


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=3), min_size=1, max_size=8))
def test_an_interval_lies_within_what_was_measured(prompts: list[list[float]]) -> None:
    found = bootstrap(prompts, _mean, seed=0, draws=50)
    values = [one for prompt in prompts for one in prompt]

    assert found is not None
    assert min(values) - 1e-9 <= found[0] <= found[1] <= max(values) + 1e-9


def _mean(values: object) -> float | None:
    every = list(values)  # type: ignore[call-overload]
    return sum(every) / len(every) if every else None
