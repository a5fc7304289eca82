"""Where passages stand in a chat."""

import pytest

from app.core.context import Shown, with_passages

QUESTION = {"role": "user", "content": "When was Ada born?"}
PASSAGES = [Shown("Ada was born in 1815."), Shown("Bees make honey.")]
PAIR = Shown("Where was Ada born? In London.", 20)


def test_passages_follow_what_the_system_says_and_leave_the_users_words_alone() -> None:
    before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]
    chat = with_passages([{"role": "system", "content": "Be brief."}, *before, QUESTION], PASSAGES, takes_system=True)

    told = {"role": "system", "content": "Be brief.\n\nAda was born in 1815.\n\nBees make honey."}
    assert chat == [told, *before, QUESTION]


def test_without_a_system_message_there_is_one_of_passages() -> None:
    chat = with_passages([QUESTION], PASSAGES, takes_system=True)

    assert chat == [{"role": "system", "content": "Ada was born in 1815.\n\nBees make honey."}, QUESTION]


def test_a_system_message_of_parts_becomes_one_text_for_some_templates_show_the_first_part_alone() -> None:
    parts = [{"type": "text", "text": "Be brief."}]
    chat = with_passages([{"role": "system", "content": parts}, QUESTION], PASSAGES[:1], takes_system=True)

    assert chat[0]["content"] == "Be brief.\n\nAda was born in 1815."
    assert len(parts) == 1


def test_where_a_template_shows_no_system_message_passages_come_before_the_question() -> None:
    chat = with_passages([QUESTION], PASSAGES, takes_system=False)

    assert chat == [{"role": "user", "content": "Ada was born in 1815.\n\nBees make honey.\n\nWhen was Ada born?"}]
    assert QUESTION["content"] == "When was Ada born?"


def test_pairs_are_turns_after_what_the_system_says_and_the_best_stands_next_to_the_chat() -> None:
    before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]
    told = [{"role": "system", "content": "Be brief."}, *before, QUESTION]
    chat = with_passages(told, [PAIR, Shown("Who? Bob.", 5)], takes_system=True)

    worse = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Bob."}]
    best = [{"role": "user", "content": "Where was Ada born?"}, {"role": "assistant", "content": "In London."}]
    assert chat == [told[0], *worse, *best, *before, QUESTION]


@pytest.mark.parametrize("takes_system", [True, False])
def test_pairs_alone_leave_the_users_message_as_it_is_and_need_no_system_message(takes_system: bool) -> None:
    chat = with_passages([QUESTION], [PAIR], takes_system=takes_system)

    assert [one["role"] for one in chat] == ["user", "assistant", "user"]
    assert chat[-1] == QUESTION


def test_prose_and_pairs_each_have_their_place() -> None:
    chat = with_passages([QUESTION], [PASSAGES[0], PAIR], takes_system=True)

    assert [one["role"] for one in chat] == ["system", "user", "assistant", "user"]
    assert chat[0]["content"] == "Ada was born in 1815."


def test_prose_and_pairs_without_a_system_message() -> None:
    chat = with_passages([QUESTION], [PASSAGES[0], PAIR], takes_system=False)

    assert [one["role"] for one in chat] == ["user", "assistant", "user"]
    assert chat[-1]["content"] == "Ada was born in 1815.\n\nWhen was Ada born?"
