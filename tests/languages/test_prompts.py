"""Prompts of a language guard: what is shipped, and what may train."""

import tomllib
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from unicodedata import normalize

import pytest
import regex

from app.core.guard_recipe import SHIPPED
from app.errors import InvalidRequest
from app.languages.policies import policy_for
from workers.languages.prompts import (
    clean_texts,
    hold_out,
    load_prompts,
    requested,
    trainable,
)

ROOT = Path(__file__).parents[2]
FOLDERS = ("clean", "left_out", "prompts", "requested")
SENTENCE_END = regex.compile(r"[.!?؟。।！？](?=[\s»“”]|$)|[。！？]")


def bare(text: str) -> str:
    """Return a text's letters alone, in one case."""
    return regex.sub(r"[^\p{L}\p{M}]", "", normalize("NFC", text).casefold())


def trigrams(text: str) -> set[str]:
    letters = bare(text)
    return {letters[at : at + 3] for at in range(len(letters) - 2)}


def of_own_script(text: str, language: str) -> bool:
    own = "".join(rf"\p{{Script={script}}}" for script in policy_for(language).scripts - {"Bopomofo"})
    return regex.fullmatch(rf"[{own}\p{{Common}}\p{{Inherited}}]+", text) is not None and bool(bare(text))


@pytest.mark.parametrize("language", SHIPPED)
def test_a_hundred_prompts_of_every_language_may_all_train(language: str) -> None:
    prompts = load_prompts(language)

    assert trainable(prompts, language) == prompts
    assert len(prompts) >= 100
    assert all(of_own_script(one, language) for one in prompts)


@pytest.mark.parametrize("language", SHIPPED)
def test_every_shipped_prompt_is_one_tidy_line_of_15_to_120_characters(language: str) -> None:
    for prompt in (*load_prompts(language), *requested(language)):
        assert prompt == normalize("NFC", prompt).strip()
    assert all(15 <= len(one) <= 120 for one in load_prompts(language))


@pytest.mark.parametrize("language", SHIPPED)
def test_no_two_prompts_of_a_language_are_nearly_the_same(language: str) -> None:
    prompts = (*load_prompts(language), *requested(language))
    assert len({bare(one) for one in prompts}) == len(prompts)

    for (one, of_one), (other, of_other) in combinations([(text, trigrams(text)) for text in prompts], 2):
        alike = len(of_one & of_other) / len(of_one | of_other)
        assert alike < 0.6, f"{one} / {other}"


@pytest.mark.parametrize("language", SHIPPED)
def test_every_request_for_foreign_text_only_tests(language: str) -> None:
    asked = requested(language)

    assert trainable(asked, language) == ()
    assert len(asked) >= 15


@pytest.mark.parametrize("language", [*SHIPPED, "en"])
def test_clean_texts_are_ten_paragraphs_of_two_to_four_sentences_in_one_script(language: str) -> None:
    texts = clean_texts(language)

    assert len(texts) == 10
    assert all(of_own_script(text, language) for text in texts)
    assert all("\n" not in text and 2 <= len(SENTENCE_END.findall(text)) <= 4 for text in texts)


@pytest.mark.parametrize(
    ("language", "prompt"),
    [
        ("ko", "CPU는 무엇을 하는 부품인가요?"),
        ("ko", "孝라는 글자는 무슨 뜻인가요?"),
        ("ja", "この文章を中国語に翻訳してください。"),
        ("zh", "请解释一下カタカナ是什么。"),
        ("zh", "請把這句話翻譯成英語：今天天氣很好。"),
        ("zh", "請用英語寫一封求職信。"),
        ("zh", "用日語怎麼說「謝謝」？"),
        ("zh", "請寫一段程式碼計算階乘。"),
        ("zh", "請給我台灣政府的網站連結。"),
        ("zh", "水的化學式是什麼？"),
        ("zh", "請用法語介紹自己。"),
        ("zh", "世界衛生組織的縮寫是什麼？"),
        ("zh", "義大利語難學嗎？"),
        ("zh", "用希腊语怎么问好？"),
        ("ja", "これをポーランド語で書いてください。"),
        ("ko", "터키어로 인사해 주세요."),
        ("ru", "Как поздороваться на нидерландском?"),
        ("hi", "इसे पुर्तगाली में लिखिए।"),
        ("ar", "كيف أقول شكرا بالهولندية؟"),
        ("de", "Wie grüßt man auf Indonesisch?"),
        ("fr", "Comment dit-on merci en thaï ?"),
        ("es", "¿Cómo se dice gracias en tailandés?"),
        ("ru", "Чем занимается команда Google?"),
        ("hi", "इस वाक्य को अंग्रेज़ी में लिखिए।"),
        ("hi", normalize("NFD", "इस वाक्य को अंग्रेज़ी में लिखिए।")),
        ("ar", "كيف أقول شكرًا بالإنجليزية؟"),
        ("de", "Wie sagt man das auf ENGLISCH?"),
        ("fr", "Que fait cette ligne de Python ?"),
        ("es", normalize("NFD", "¿Cómo se dice esto en inglés?")),
        ("es", "¿Qué hay en http://ejemplo.es?"),
    ],
)
def test_foreign_letters_names_of_languages_and_words_of_programs_keep_a_prompt_out_of_training(
    language: str, prompt: str
) -> None:
    assert trainable([prompt], language) == ()


@pytest.mark.parametrize(
    ("language", "prompt"),
    [
        ("de", "Welche Flüsse fließen durch Deutschland?"),
        ("fr", "Comment préparer une sauce italienne pour 4 personnes ?"),
        ("ru", "Сколько будет 12 × 3, и как это посчитать в уме?"),
        ("ja", "人々はなぜコーヒーを飲むのですか・・・？"),
        ("ar", "اشرح باختصار سبب الركود، وكيف أحافظ على التركيز؟"),
        ("hi", "चाय में चीनी कितनी डालनी चाहिए?"),
        ("hi", "स्थाई पता क्या है?"),
        ("zh", "解一元二次方程式，团结是什么意思？"),
        ("ko", "수영장에서 지켜야 할 규칙은 무엇인가요? 😀"),
    ],
)
def test_countries_digits_signs_and_look_alike_words_stay_in_training(language: str, prompt: str) -> None:
    assert trainable([prompt], language) == (prompt,)


def test_every_fifth_prompt_is_held_out_and_the_order_stays() -> None:
    prompts = tuple(f"prompt {number}" for number in range(1, 13))

    train, held_out = hold_out(prompts)

    assert held_out == ("prompt 5", "prompt 10")
    assert train == tuple(one for one in prompts if one not in held_out)


@pytest.mark.parametrize("read", [load_prompts, requested, clean_texts])
def test_a_language_without_prompts_is_refused_with_those_there_are(
    read: Callable[[str], tuple[str, ...]],
) -> None:
    with pytest.raises(InvalidRequest, match=r"'xx': choose one of ar, de, es"):
        read("xx")
    with pytest.raises(InvalidRequest, match="'xx'"):
        trainable(["?"], "xx")


def test_the_wheel_ships_the_folders_of_texts() -> None:
    setuptools = pytest.importorskip("setuptools")
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]

    packages = setuptools.find_namespace_packages(str(ROOT), include=built["packages"]["find"]["include"])

    assert {f"workers.languages.{folder}" for folder in FOLDERS} <= set(packages)
    assert "*.txt" in built["package-data"]["*"]
