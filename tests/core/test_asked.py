"""Questions that a document asks and answers itself."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.asked import LONGEST, asked
from app.core.sentences import sentences


def found(text: str) -> list[tuple[str, str]]:
    return [(one.question, one.answer) for one in asked(textwrap.dedent(text).strip())]


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("## How do I pay?\nBy card. In the app.", "How do I pay?", "By card. In the app."),
        ("## How do I pay?\n\nBy card.\n\nOr by bank.\n\n## Prices\n\nNine.", "How do I pay?", "By card. Or by bank."),
        ("How do I pay?\n-------------\nBy card.", "How do I pay?", "By card."),
        ("**How do I pay?** By card.", "How do I pay?", "By card."),
        ("**How do I pay?**\n\nBy card.", "How do I pay?", "By card."),
        ("3. How do I pay?\n   By card.\n4. And how at night?\n   In cash.", "How do I pay?", "By card."),
        ("- How do I pay? By card.", "How do I pay?", "By card."),
        ("Q: How do I pay?\nA: By card.", "How do I pay?", "By card."),
        ("Q7. How do I pay?\n\nA7. By card.", "How do I pay?", "By card."),
        ("**Frage:** Wie zahle ich das?\n**Antwort:** Mit Karte.", "Wie zahle ich das?", "Mit Karte."),
        ("Вопрос: Как мне заплатить?\nОтвет: Картой.", "Как мне заплатить?", "Картой."),
        ("問：どうやって払いますか？\n答：カードで。", "どうやって払いますか？", "カードで。"),
        ("## How do I pay? And where is that?\nBy card.", "How do I pay? And where is that?", "By card."),
        ("How do I pay when nobody\nis there?\nBy card.", "How do I pay when nobody is there?", "By card."),
        ("How do I pay my bill?\nBy card.\n\nWhen are you open?\nAt 9.", "How do I pay my bill?", "By card."),
        ("1.1 How do I pay?\nBy card.", "How do I pay?", "By card."),
        ("How do I pay?\n\n:   By card.", "How do I pay?", "By card."),
        ("**Q**: How do I pay?\n**A**: By card.", "How do I pay?", "By card."),
        ("Q6) How do I pay?\nA6) By card.", "How do I pay?", "By card."),
        ("Q : Comment payer la nuit ?\nR : Par carte.", "Comment payer la nuit ?", "Par carte."),
        ("### Q4. How do I pay?\n\nBy card.", "How do I pay?", "By card."),
        ("## 3. How do I pay? {#pay}\n\nBy card.", "How do I pay?", "By card."),
        ("## How do I pay? (EU)\n\nBy card.", "How do I pay? (EU)", "By card."),
        ("## I lost it. What should I do?\n\nCall us.", "I lost it. What should I do?", "Call us."),
        (
            "1. **When are you open?**\n\n   From 9 to 5.\n2. **Where is it?**\n\n   Here.",
            "When are you open?",
            "From 9 to 5.",
        ),
        ("## Refunds?\n\nIn 14 days.", "Refunds?", "In 14 days."),
        (
            "## How do I pay?\n\nLate at night? By card.\n\nElse cash.",
            "How do I pay?",
            "Late at night? By card. Else cash.",
        ),
        (
            "**How can I pay?** By card. Need more help? Call 555.",
            "How can I pay?",
            "By card. Need more help? Call 555.",
        ),
        (
            "Q: How do I park?\nA: Do you have a permit? Use gate 4.",
            "How do I park?",
            "Do you have a permit? Use gate 4.",
        ),
        (
            "**How can I pay?**\n\nYou can pay:\n\n- by card\n- by cash",
            "How can I pay?",
            "You can pay: by card; by cash",
        ),
        (
            "## How do I return it?\n### Online\nIn 14 days.\n### Here\nIn 30.",
            "How do I return it?",
            "Online; In 14 days. Here; In 30.",
        ),
        ("## When are you open?\n\nAt 9.\n\n---\n\nSubscribe to us.", "When are you open?", "At 9."),
        ("## How is it set?\n\nSo:\n\n```\n# the port\nport: 80\n```", "How is it set?", "So: the port; port: 80"),
        (
            "1. How do I pay?\n2. When are you open?\n\nBy Ada.\n\n## When are you open?\nAt 9.",
            "When are you open?",
            "At 9.",
        ),
        ("## Who do I ask?\n- Ada Brandeis\n- Dov Holmvik", "Who do I ask?", "Ada Brandeis; Dov Holmvik"),
    ],
)
def test_what_stands_below_a_question_answers_it(text: str, question: str, answer: str) -> None:
    assert found(text)[0] == (question, answer)


@pytest.mark.parametrize(
    "text",
    [
        "He came late. Why did he do that? Nobody knows.",
        "Why did they go there? They had to.",  # prose, which asks for effect
        "## Why?\nBecause of the rain.",
        "# Old\n\n## What does it cost?\n\n5 euros.\n\n# New\n\n## What does it cost?\n\n7 euros.",
        "— Où vas-tu donc ce soir ?\n\n— À Paris, dit-il.",
        "## How do I pay?\n## Prices\nNine euros.",
        "How do I pay?\n\n## Prices\n\nNine euros.",
        "How do I pay?",
        "",
    ],
)
def test_a_question_that_nothing_answers_or_that_prose_asks_is_none(text: str) -> None:
    assert not found(text)


def test_below_a_line_that_is_no_heading_an_answer_ends_with_its_paragraph() -> None:
    text = """
        How do I pay?

        By card.

        The harbour was built in 1931.
    """

    assert found(text) == [("How do I pay?", "By card.")]


def test_a_long_answer_ends_with_a_sentence() -> None:
    long = " ".join(f"Sentence {number} says one thing more." for number in range(40))
    [(_, answer)] = found(f"## What is there to say?\n{long}")

    assert len(answer) <= LONGEST
    assert answer.endswith("says one thing more.")


def test_a_question_whose_answer_has_no_short_beginning_is_none() -> None:
    longest = "x" * (LONGEST - 1) + "."

    assert found(f"## What is there to say?\n{longest} More.") == [("What is there to say?", longest)]
    assert not found(f"## What is there to say?\nx{longest} More.")
    assert not found("## Which cities do you deliver to?\n" + ", ".join(f"City {n}" for n in range(900)) + ".")


def test_labels_of_questions_and_answers_are_no_part_of_a_sentence() -> None:
    assert sentences("Q: How do I pay?\nA: By card.") == ["How do I pay?", "By card."]
    assert sentences("F: 12\nA: 14\nB: 15") == ["F: 12", "A: 14", "B: 15"]
    assert sentences("F. Scott Fitzgerald\nA. E. Housman") == ["F. Scott Fitzgerald", "A. E. Housman"]
    assert sentences("One of the best known novels was written by\nF. Scott Fitzgerald in 1925 while he") == [
        "One of the best known novels was written by F. Scott Fitzgerald in 1925 while he"
    ]
    assert sentences("A: Alpha is first.\nB: Beta is second.") == ["A: Alpha is first.", "B: Beta is second."]


@given(st.text("AQa?:. \n#*-1", max_size=60))
def test_every_question_has_an_answer_and_both_are_sentences_of_the_text(text: str) -> None:
    told = sentences(text)

    for one in asked(text):
        assert one.sentences
        assert set(one.sentences) <= set(told)
        assert all(part in told for part in sentences(one.question))
