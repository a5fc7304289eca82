"""Where an answer leaves its language, in generated tokens."""

from typing import Any

import pytest

from app.languages.detector import Verdict
from tests.trainer.tiny import byte_tokenizer
from workers.languages.points import Answer, Prompt, before_confusion, decode, token_at

TOKENIZER = byte_tokenizer()  # a token for each byte: a Korean syllable is three


class Latin:
    """Finds the first Latin letter, wherever it is told not to look."""

    def find(self, text: str, prompt: str) -> int | None:
        """See `Judge`."""
        return next((place for place, one in enumerate(text) if one.isascii() and one.isalpha()), None)

    def classify(self, fragment: str) -> Verdict:
        """See `Judge`."""
        return Verdict.NEUTRAL


class Hanja(Latin):
    """Finds the first Han character."""

    def find(self, text: str, prompt: str) -> int | None:
        """See `Judge`."""
        return next((place for place, one in enumerate(text) if "\u4e00" <= one <= "\u9fff"), None)


def ids_of(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("text", ["안녕 world", "x", "一二x三", "가나다 3.5km!"])
def test_every_character_is_found_at_the_token_that_begins_it(text: str) -> None:
    ids = ids_of(text)

    found = [token_at(TOKENIZER, ids, place) for place in range(len(text))]

    assert found == [len(text[:place].encode()) for place in range(len(text))]


def test_the_prefix_ends_before_the_first_byte_of_the_first_foreign_character() -> None:
    prompt = Prompt("?", ids_of("질문"))

    latin = before_confusion(TOKENIZER, Answer(prompt, ids_of("안녕 hi")), Latin())
    han = before_confusion(TOKENIZER, Answer(prompt, ids_of("안녕 漢字")), Hanja())

    assert latin == han == prompt.ids + ids_of("안녕 ")


def test_a_clean_answer_has_no_point() -> None:
    assert before_confusion(TOKENIZER, Answer(Prompt("?", (5,)), ids_of("안녕 3")), Latin()) is None


def test_special_tokens_have_no_text_and_a_character_cut_short_is_left_out() -> None:
    end: Any = TOKENIZER.eos_token_id
    cut = ids_of("안녕")[:-1]

    assert decode(TOKENIZER, cut) == "안"
    assert decode(TOKENIZER, (*ids_of("안"), end)) == "안"
    assert token_at(TOKENIZER, (end, *ids_of("안x")), 1) == 4
