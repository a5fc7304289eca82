"""Passages: within the limit, in order, nothing lost."""

import itertools
import textwrap
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.sentences import unwrapped
from tests.trainer.tiny import byte_tokenizer
from workers.trainer.passages import cut, each_sentence

TOKENIZER: Any = byte_tokenizer()
TEXTS = st.text(alphabet=st.sampled_from("ab Zé東。.!?\n\t-#"), max_size=300)


@settings(deadline=None)
@given(TEXTS, st.integers(16, 60), st.integers(0, 15))
def test_no_text_is_lost_and_no_passage_is_above_the_limit(text: str, tokens: int, overlap: int) -> None:
    passages = cut(text, "d", TOKENIZER, tokens=tokens, overlap_tokens=overlap)
    covered = {place for passage in passages for place in range(passage.start, passage.end)}

    assert all(text[place].isspace() for place in set(range(len(text))) - covered)
    assert all(unwrapped(text)[passage.start : passage.end] == passage.text for passage in passages)
    assert all(len(TOKENIZER(one.text, add_special_tokens=False)["input_ids"]) <= tokens for one in passages)
    assert [passage.index for passage in passages] == list(range(len(passages)))
    assert [passage.start for passage in passages] == sorted(passage.start for passage in passages)


def test_passages_end_where_sentences_do() -> None:
    text = " ".join(f"Fact number {number} is told here." for number in range(20))

    passages = cut(text, "d", TOKENIZER, tokens=64, overlap_tokens=0)

    assert all(passage.text.endswith("here.") for passage in passages)
    assert all(passage.text.startswith("Fact") for passage in passages)


@pytest.mark.parametrize("overlap", [0, 40])
def test_neighbours_share_text_where_an_overlap_is_asked_for(overlap: int) -> None:
    text = " ".join(f"Fact {number} is here." for number in range(20))

    passages = cut(text, "d", TOKENIZER, tokens=80, overlap_tokens=overlap)
    shared = [left.end - right.start for left, right in itertools.pairwise(passages)]

    assert all(0 < one <= overlap for one in shared) if overlap else all(one <= 0 for one in shared)


def test_what_a_width_wrapped_is_cut_where_its_sentences_end() -> None:
    told = [f"In {1900 + year} the ferry of Velmark carried {97 * year} passengers to Kettle." for year in range(1, 40)]

    def found(text: str) -> list[str]:
        passages = cut(text, "d", TOKENIZER, tokens=400, overlap_tokens=100)
        return [sentence for _, sentence, _ in each_sentence(passages)]

    assert found(" ".join(told)) == found(textwrap.fill(" ".join(told), 72)) == told


def test_a_list_keeps_its_items_and_code_its_lines() -> None:
    text = "Bring these:\n- a rope of ten\n  metres\n- two lamps\n```sh\nmake up the beds\nmake down the sails\n```"

    (passage,) = cut(text, "d", TOKENIZER, tokens=400, overlap_tokens=0)

    assert passage.text == text.replace("ten\n", "ten ")
    assert [sentence for _, sentence, _ in each_sentence([passage])][1:3] == ["a rope of ten metres", "two lamps"]


def test_the_items_of_a_list_are_told_by_each_other_from_passage_to_passage() -> None:
    text = "\n".join(f"{number}. Turn wheel {'abc'[number - 1]} of the pump." for number in (1, 2, 3))

    passages = cut(text, "d", TOKENIZER, tokens=32, overlap_tokens=0)
    other = cut("4. Mai: Wheel d.", "e", TOKENIZER, tokens=32, overlap_tokens=0)

    assert [len(passages), len(other)] == [3, 1]
    assert [sentence for _, sentence, _ in each_sentence([*passages, *other])] == [
        "Turn wheel a of the pump.",
        "Turn wheel b of the pump.",
        "Turn wheel c of the pump.",
        "4. Mai: Wheel d.",
    ]
