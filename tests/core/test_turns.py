"""What a conversation asks about."""

from typing import Any

import pytest

from app.core.turns import MOST, asked_about, refers_back


def chat(*turns: Any) -> list[dict[str, Any]]:
    """Return user turns, each but the last one answered."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Be kind."}]
    for turn in turns:
        messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": "Thirty-five minutes."}]
    return messages[:-1]


def test_one_question_is_itself() -> None:
    assert asked_about(chat("How long does it take?")) == "How long does it take?"


def test_a_question_of_its_own_leaves_what_was_said_before() -> None:
    assert asked_about(chat("Who runs the ferry?", "Who directs the dairy in Norrfell?")) == (
        "Who directs the dairy in Norrfell?"
    )


@pytest.mark.parametrize(
    "last",
    ["How long does it take?", "And in winter?", "Why?", "What about the price for large dogs?", "Und im Winter?",
     "Quand est-ce qu'elle ouvre ses portes le dimanche ?", "Когда он открывается по воскресеньям утром?",
     "それはいつですか", "它的票价是多少钱", "그것은 언제 처음으로 출발합니까"],
)  # fmt: skip
def test_a_question_that_refers_back_brings_the_turn_before(last: str) -> None:
    assert asked_about(chat("Who runs the ferry to Kettle Island?", last)) == (
        f"Who runs the ferry to Kettle Island?\n{last}"
    )


def test_a_turn_that_refers_back_itself_brings_the_one_before_it_but_not_without_end() -> None:
    turns = ["Who runs the ferry to Kettle Island?", *["And why?"] * 2]

    assert asked_about(chat(*turns)) == "\n".join(turns)
    assert len(asked_about(chat(*["Why?"] * 20)).splitlines()) == 4


@pytest.mark.parametrize(
    "question",
    ["What is the phone number of Albert Wyatt?", "Where does Maren say that she lives in Bergen?",
     "Wie lange dauert die Überfahrt nach Norrfell?", "東京タワーは何年に完成しましたか"],
)  # fmt: skip
def test_a_question_that_names_what_it_means_does_not_refer_back(question: str) -> None:
    assert not refers_back(question)


def test_of_a_long_message_the_end_counts() -> None:
    asked = asked_about(chat("material " * 2000 + "Who founded Veldmark?"))

    assert asked.endswith("Who founded Veldmark?")
    assert len(asked) == MOST


def test_text_in_parts_counts_and_what_is_no_text_does_not() -> None:
    parts = [{"type": "text", "text": "Who runs the ferry to Kettle Island?"}, {"type": "image_url", "image_url": {}}]

    assert asked_about(chat(parts)) == "Who runs the ferry to Kettle Island?"
    assert asked_about([{"role": "user", "content": None}, {"role": "tool", "content": "x"}]) == ""
    assert asked_about([*chat("Who runs the ferry?"), {"role": "tool", "content": "x"}]) == "Who runs the ferry?"
