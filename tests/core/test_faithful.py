"""When a longer text rests on its source."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.faithful import is_faithful

SOURCE = (
    "The Veldmark Cooperative was founded on 14 March 1987 by Oswin Tarrel, a retired clockmaker. It owns seven boats "
    "and carries 212,000 passengers a year. A ticket costs 4.80 crowns."
)


@pytest.mark.parametrize(
    "text",
    [
        "Oswin Tarrel, a retired clockmaker, founded the Veldmark Cooperative in March 1987.",
        "The cooperative has 7 boats. Each year its boats carry 212000 passengers.",
        "Oswin Tarrel's cooperative owns boats.",
        "Tickets cost 4,80 crowns.",
    ],
)
def test_what_the_source_says_in_other_words_is_faithful(text: str) -> None:
    assert is_faithful(text, SOURCE, share=0.6)


@pytest.mark.parametrize(
    "text",
    [
        "Oswin Tarrel founded the Veldmark Cooperative in March 1988.",  # another number
        "The Veldmark Cooperative owns eight boats.",  # another number in words
        "A ticket of the Veldmark Cooperative costs 80 crowns.",  # part of a number
        "The clockmaker Edda Tarrel founded the Veldmark Cooperative.",  # another name
        "The Veldmark Cooperative was founded in April.",  # another month
        "Boats sail because everybody likes islands, cheese and music.",  # other words
        "",
        "...",
    ],
)
def test_what_the_source_does_not_say_is_not(text: str) -> None:
    assert not is_faithful(text, SOURCE, share=0.6)


@pytest.mark.parametrize(
    ("text", "source", "faithful"),
    [
        ("東京タワーは1958年に完成。", "東京タワーは1958年に完成した。", True),
        ("東京タワーは1959年に完成。", "東京タワーは1958年に完成した。", False),
        ("オオサカの塔は完成した。", "東京タワーの塔は完成した。", False),  # a name in katakana
        ("Мост открыла Ильза Брандт.", "Ильза Брандт открыла старый мост.", True),
        ("Мост открыла Ольга Брандт.", "Ильза Брандт открыла старый мост.", False),
        ("افتتح الجسر عام ١٩٣١", "افتتح الجسر في تارن عام 1931", True),
        ("افتتح الجسر عام ١٩٣٢", "افتتح الجسر في تارن عام 1931", False),
        ("افتتح بسعر ١٩.٥", "افتتح الجسر بسعر 19.5", True),
        ("Die Boote tragen Personen.", "Sieben Boote, die Personen tragen.", True),
    ],
)
def test_every_script_is_judged(text: str, source: str, faithful: bool) -> None:
    assert is_faithful(text, source, share=0.5) is faithful


@settings(deadline=None)
@given(st.lists(st.sampled_from(SOURCE.split()), min_size=3, max_size=12).map(" ".join), st.integers(300, 999))
def test_a_number_that_the_source_lacks_is_never_faithful(text: str, number: int) -> None:
    assert not is_faithful(f"{text} {number}", SOURCE, share=0.0)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_text_with_words_is_faithful_to_itself(text: str) -> None:
    told = f"{text} bell tower"

    assert is_faithful(told, told, share=1.0)
