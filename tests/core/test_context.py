"""Where passages stand in a chat."""

from app.core.context import with_passages

QUESTION = {"role": "user", "content": "When was Ada born?"}
PASSAGES = ["Ada was born in 1815.", "Bees make honey."]


def test_passages_follow_what_the_system_says_and_leave_the_users_words_alone() -> None:
    before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]
    chat = with_passages([{"role": "system", "content": "Be brief."}, *before, QUESTION], PASSAGES, takes_system=True)

    told = {"role": "system", "content": "Be brief.\n\nAda was born in 1815.\n\nBees make honey."}
    assert chat == [told, *before, QUESTION]


def test_without_a_system_message_there_is_one_of_passages() -> None:
    chat = with_passages([QUESTION], PASSAGES, takes_system=True)

    assert chat == [{"role": "system", "content": "Ada was born in 1815.\n\nBees make honey."}, QUESTION]


def test_a_system_message_of_parts_gets_one_more() -> None:
    parts = [{"type": "text", "text": "Be brief."}]
    chat = with_passages([{"role": "system", "content": parts}, QUESTION], PASSAGES[:1], takes_system=True)

    assert chat[0]["content"] == [*parts, {"type": "text", "text": "Ada was born in 1815."}]
    assert len(parts) == 1


def test_where_a_template_shows_no_system_message_passages_come_before_the_question() -> None:
    chat = with_passages([QUESTION], PASSAGES, takes_system=False)

    assert chat == [{"role": "user", "content": "Ada was born in 1815.\n\nBees make honey.\n\nWhen was Ada born?"}]
    assert QUESTION["content"] == "When was Ada born?"
