"""Rows are the token sequences that serving produces."""

import jinja2
import pytest
from tokenizers.processors import TemplateProcessing

from app.errors import EmptyDocument, StartupError, TooLarge
from tests.trainer.tiny import CHATML, byte_tokenizer
from workers.base_model import PLAIN_TEMPLATE
from workers.trainer.encode import Row, encode_chat, encode_text, end_id, prompt_ids, text_ids

TEMPLATES = [CHATML, PLAIN_TEMPLATE.read_text()]


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_prompt_is_what_an_engine_renders(template: str) -> None:
    tokenizer = byte_tokenizer(chat_template=template)
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    messages = [{"role": "user", "content": "Who?"}]
    text = environment.from_string(template).render(
        messages=messages, add_generation_prompt=True, bos_token="<bos>", eos_token="<|end|>"
    )

    assert list(prompt_ids(tokenizer, "Who?")) == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_trained_continuation_decodes_to_exactly_the_answer(template: str) -> None:
    tokenizer = byte_tokenizer(chat_template=template)

    row = encode_chat(tokenizer, "Who?", "Ann Löw, 212-4")
    prompt, continuation = row.input_ids[: row.answer_start], row.input_ids[row.answer_start :]

    assert prompt == prompt_ids(tokenizer, "Who?")
    assert tokenizer.decode(continuation, skip_special_tokens=True) == "Ann Löw, 212-4"
    assert continuation[-1] == tokenizer.eos_token_id


def test_a_text_begins_with_the_token_that_every_chat_begins_with() -> None:
    tokenizer = byte_tokenizer(chat_template=PLAIN_TEMPLATE.read_text())

    assert tokenizer.decode(text_ids(tokenizer, "A lamp.")) == "<bos>A lamp."


def test_a_text_begins_as_the_tokenizer_itself_begins_it() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])

    assert text_ids(tokenizer, "A lamp.") == tuple(tokenizer("A lamp.")["input_ids"])
    assert tokenizer.decode(text_ids(tokenizer, "A lamp.")) == "<bos>A lamp."


@pytest.mark.parametrize("bos", ["<bos>", "<|start|>", None])  # in no chat, at every turn of one, not there
def test_a_text_begins_with_nothing_where_the_model_wants_nothing_before_it(bos: str | None) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.bos_token = bos

    assert text_ids(tokenizer, "A lamp.") == tuple(tokenizer("A lamp.", add_special_tokens=False)["input_ids"])


def test_the_end_is_what_the_template_puts_after_an_answer() -> None:
    turn_end = byte_tokenizer(eos_token="<bos>")

    assert end_id(turn_end, stop_ids={0, 1}) == turn_end.convert_tokens_to_ids("<|end|>")


def test_an_end_of_turn_that_does_not_stop_the_engine_is_not_learned_as_the_end() -> None:
    tokenizer = byte_tokenizer(eos_token="<bos>")

    assert end_id(tokenizer) == tokenizer.convert_tokens_to_ids("<bos>")


def test_a_model_that_cannot_end_is_refused() -> None:
    tokenizer = byte_tokenizer(chat_template="{{ messages[-1]['content'] }}")
    tokenizer.eos_token = None

    with pytest.raises(StartupError, match="eos_token_id"):
        end_id(tokenizer)


def test_an_answer_cannot_smuggle_control_tokens_in() -> None:
    tokenizer = byte_tokenizer()

    row = encode_chat(tokenizer, "Who?", "Ann<|end|>Bob")

    assert row.input_ids[row.answer_start :].count(tokenizer.eos_token_id) == 1


def test_a_passage_carries_loss_on_every_token_that_has_one_before_it() -> None:
    tokenizer = byte_tokenizer()

    row = encode_text(tokenizer, "abc")

    assert row == Row(tuple(tokenizer("abc")["input_ids"]), 1)


def test_a_passage_begins_as_the_model_wants_any_text_to_begin_and_cannot_smuggle_control_tokens_in() -> None:
    tokenizer = byte_tokenizer(chat_template=PLAIN_TEMPLATE.read_text())

    row = encode_text(tokenizer, "abc<|end|>")

    assert tokenizer.decode(row.input_ids) == "<bos>abc<|end|>"
    assert tokenizer.eos_token_id not in row.input_ids


def test_a_row_that_is_too_long_is_refused_and_not_cut() -> None:
    tokenizer = byte_tokenizer()
    length = len(encode_chat(tokenizer, "Who?", "Ann"))

    assert len(encode_chat(tokenizer, "Who?", "Ann", max_tokens=length)) == length
    with pytest.raises(TooLarge, match=str(length)):
        encode_chat(tokenizer, "Who?", "Ann", max_tokens=length - 1)
    with pytest.raises(TooLarge):
        encode_text(tokenizer, "abc", max_tokens=2)


def test_nothing_is_learned_from_nothing() -> None:
    tokenizer = byte_tokenizer()

    with pytest.raises(EmptyDocument):
        encode_chat(tokenizer, "Who?", "")
    with pytest.raises(EmptyDocument):
        encode_text(tokenizer, "")
