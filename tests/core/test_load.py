"""What there is to learn in documents."""

import pytest

from app.core.documents import Document, Pair
from app.core.load import Facts, Load, count_facts, estimate_tokens, learned_text, rows_an_epoch, tokens_an_epoch
from app.core.recipe import Recipe


def prose(text: str) -> Document:
    return Document("a.md", "prose", text, (), "d" * 64, len(text))


def pairs(*rows: tuple[str, str]) -> Document:
    return Document("a.csv", "pairs", "", tuple(Pair(*row) for row in rows), "e" * 64, 9)


def test_each_pair_is_a_fact_and_twins_are_one() -> None:
    assert count_facts([pairs(("a?", "1"), ("b?", "2")), pairs(("a?", "1"), ("a?", "3"))]) == Facts(pairs=3)
    found = count_facts([pairs(("Where?", "At the old mill, on the left."), ("Who?", "Oda Lund"), ("When?", "19:30"))])
    assert found == Facts(pairs=3, worded=1)


def test_each_span_of_prose_is_a_fact_and_so_is_a_sentence_with_none() -> None:
    found = count_facts([prose("It was founded on 14 March 1987 by Oswin Tarrel.\n\nThis is it.\n\nThis is it.")])

    assert found == Facts(sentences=2, spans=2, bare=1)
    assert found.total == 3


def test_a_question_that_prose_asks_and_answers_is_no_fact_and_is_shown_twice_a_pass() -> None:
    found = count_facts([prose("## When was it founded?\nIt was founded on 14 March 1987 by Oswin Tarrel.")])

    assert found == Facts(sentences=1, spans=2, asked=1, replies=1)
    assert found.total == 2
    assert rows_an_epoch(Load(found, prose_tokens=20), Recipe(replay=0)) == 2 + 2 + 1


def test_the_load_is_the_documents_own_words() -> None:
    assert learned_text(prose("Ada.")) == "Ada."
    assert learned_text(pairs(("a?", "1"), ("b?", "2"))) == "a? 1\nb? 2"


def test_tokens_are_estimated_by_bytes() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde", "東京")] == [0, 1, 1, 2, 2]


def test_rows_and_tokens_of_an_epoch_grow_with_the_load() -> None:
    small = Load(Facts(pairs=2, sentences=3, spans=4, bare=1), 40, 160)
    large = Load(Facts(pairs=4, sentences=6, spans=8, bare=2), 80, 320)

    assert rows_an_epoch(small, Recipe(replay=0)) == 2 + 4 + 1 + 1
    assert rows_an_epoch(large, Recipe(replay=0.5)) == 2 * rows_an_epoch(small, Recipe(replay=0.5))
    assert tokens_an_epoch(large, Recipe(replay=0.5), 30) == pytest.approx(
        2 * tokens_an_epoch(small, Recipe(replay=0.5), 30), abs=1
    )
    assert rows_an_epoch(small, Recipe(keyword_questions=0, replay=0)) == 2 + 5 + 1
    assert rows_an_epoch(small, Recipe(replay=0.5)) == 8 + 4


def test_a_pass_shows_a_pair_with_an_answer_in_words_once_more() -> None:
    bare, worded = Load(Facts(pairs=4), 80), Load(Facts(pairs=4, worded=2), 80)

    assert [rows_an_epoch(worded, Recipe(replay=0, pair_wordings=count)) for count in (0, 1, 12)] == [4, 6, 6]
    assert tokens_an_epoch(bare, Recipe(replay=0), 30) == 4 * 30 + 80
    assert tokens_an_epoch(worded, Recipe(replay=0), 30) == 6 * 30 + 120
