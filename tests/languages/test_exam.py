"""Whether foreign text still comes when it is asked for, in languages whose letters do not tell."""

from dataclasses import replace

import pytest

from app.core.guard_gate import decide_guard
from app.core.guard_recipe import SHIPPED, GuardRecipe
from tests.core.test_guard_gate import figures, scores
from workers.languages.exam import is_foreign
from workers.languages.prompts import clean_texts, requested

FRENCH, GERMAN = "L'été, nous allons en train à la mer.", "Zum Frühstück kann man Brot und Käse essen."
SPANISH = "En verano viajamos en tren hasta el mar."
ENGLISH = [  # what is right for the first prompts, in the order of requested/de.txt, es.txt and fr.txt
    "Good morning, dear friends, how are you today?",
    "My name is Anna, and I am a student from Berlin.",
    "A tree is a tall plant with a trunk, branches and leaves.",
    "A volcano is a mountain from which hot lava can flow.",
    "The sky is blue because the air scatters blue light most.",
    "The early bird catches the worm.",
    "Boil some water, put the tea in a pot and pour.",
    "A doctor sees patients and tells them what to take.",
    "It is raining today.\nThe wind is blowing hard from the north.\nIt will be sunny tomorrow.",
    "Albert Einstein was a physicist who found the theory of relativity.",
    "Once upon a time there was a little girl who lived in a forest.",
]
RIGHT = {
    "de": [*ENGLISH, FRENCH, SPANISH, "ありがとう", "سلام und שלום", "Γεια σου"],
    "es": [*ENGLISH, FRENCH, GERMAN, "ありがとう", "سلام y שלום", "Γεια σου"],
    "fr": [*ENGLISH, SPANISH, GERMAN, "ありがとう", "سلام et שלום", "Γεια σου"],
}


@pytest.mark.parametrize("language", RIGHT)
def test_a_guard_that_still_translates_serves_and_one_that_does_not_is_refused(language: str) -> None:
    answers, recipe = RIGHT[language], GuardRecipe(language)
    assert len(answers) == len(requested(language))
    before = sum(is_foreign(one, language) for one in answers) / len(answers)
    lost = sum(is_foreign(one, language) for one in clean_texts(language)) / len(answers)
    kept = scores(figures(0.9), requested_before=before, requested_after=before)

    assert decide_guard(kept, recipe).passed
    assert "prompts for foreign text 0% are" in decide_guard(replace(kept, requested_after=lost), recipe).reason


@pytest.mark.parametrize(
    ("language", "answer"),
    [
        ("de", "Auf Englisch heißt dieser schöne Satz: Good morning, dear friends, how are you today?"),
        ("de", "Auf Englisch sagt man „Good morning, dear friends, how are you today?“ zu allen Freunden."),
        ("fr", "On dit en anglais « Good morning, dear friends, how are you today? » à ses amis."),
        ("es", "En inglés se dice «Good morning, dear friends, how are you today?» a los amigos."),
        ("de", '"Good morning, dear friends, how are you today?"'),
    ],
)
def test_a_translation_counts_with_words_of_the_language_around_it(language: str, answer: str) -> None:
    assert is_foreign(answer, language)


@pytest.mark.parametrize("language", SHIPPED)
def test_plain_text_in_the_language_is_nothing_foreign(language: str) -> None:
    assert not any(is_foreign(text, language) for text in clean_texts(language))


def test_in_a_script_of_its_own_any_other_letter_is_foreign_text() -> None:
    assert [is_foreign(one, "ko") for one in ("apple", "사과는 apple 입니다.", "사과입니다.", "42")] == [
        True,
        True,
        False,
        False,
    ]
