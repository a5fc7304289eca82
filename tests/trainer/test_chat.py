"""The chat template that the engine and the trainer share."""

from pathlib import Path

import pytest
from transformers import GenerationConfig

from app.errors import StartupError
from tests.trainer.tiny import CHATML, byte_tokenizer
from workers.base_model import PLAIN_TEMPLATE, serving_template
from workers.chat import load_tokenizer, stop_ids, takes_system


def test_a_model_without_a_template_gets_the_packaged_one(tmp_path: Path) -> None:
    byte_tokenizer(chat_template=None).save_pretrained(tmp_path)

    assert serving_template(tmp_path) == PLAIN_TEMPLATE
    assert load_tokenizer(str(tmp_path)).chat_template == PLAIN_TEMPLATE.read_text()


@pytest.mark.parametrize("as_file", [True, False])
def test_a_model_keeps_its_own_template(tmp_path: Path, as_file: bool) -> None:
    byte_tokenizer().save_pretrained(tmp_path, save_jinja_files=as_file)

    assert (tmp_path / "chat_template.jinja").exists() is as_file
    assert serving_template(tmp_path) is None
    assert load_tokenizer(str(tmp_path)).chat_template == CHATML


def test_the_plain_template_frames_question_and_answer_behind_bos() -> None:
    tokenizer = byte_tokenizer(chat_template=PLAIN_TEMPLATE.read_text())
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One? "},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"},
    ]

    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)

    assert text == "<bos>Be brief.\n\nQuestion: One?\nAnswer:\n1<|end|>\n\nQuestion: Two?\nAnswer:\n"


def test_the_plain_template_needs_no_bos() -> None:
    tokenizer = byte_tokenizer(chat_template=PLAIN_TEMPLATE.read_text())
    tokenizer.bos_token = None

    text = tokenizer.apply_chat_template([{"role": "user", "content": "One?"}], tokenize=False)

    assert text == "Question: One?\n"


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        (CHATML, True),
        (PLAIN_TEMPLATE.read_text(), True),
        ("{{ raise_exception('System role not supported') }}", False),
        ("{% for one in messages %}{% if one['role'] == 'user' %}{{ one['content'] }}{% endif %}{% endfor %}", False),
    ],
)
def test_a_template_takes_a_system_message_if_it_shows_it(template: str, shown: bool) -> None:
    assert takes_system(byte_tokenizer(chat_template=template)) is shown


def test_stop_ids_are_those_of_the_generation_config(tmp_path: Path) -> None:
    GenerationConfig(eos_token_id=[1, 106]).save_pretrained(tmp_path)

    assert stop_ids(str(tmp_path)) == {1, 106}


def test_a_model_without_a_generation_config_has_no_stop_ids(tmp_path: Path) -> None:
    assert stop_ids(str(tmp_path)) == set()


def test_a_missing_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="LOREKEEP_BASE_MODEL"):
        load_tokenizer(str(tmp_path / "none"))
