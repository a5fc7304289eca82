"""The Language Confusion Benchmark's metrics."""

import csv

import pytest

from app.languages.benchmark import Judged, Output, judge, rates_of, summarise
from app.languages.identify import Guess
from app.languages.words import english_words
from tests.languages.lcb import LCB, PUBLISHED, needs_lcb

ENGLISH = frozenset(["bridge"])


def korean(line: str) -> Guess:
    return Guess("en", 0.9) if "english" in line else Guess("ko", 0.2 if "unsure" in line else 0.9)


@pytest.mark.parametrize(
    ("text", "judged"),
    [
        ("가 나 다 라 마", Judged(1, 0, False)),
        ("가 나 다 라", Judged(0, 0, False)),
        ("가 나 다 라 english\n가 나 다 라 마", Judged(2, 1, False)),
        ("가 나 다 라 unsure", Judged(1, 1, False)),
        ("가 나 다 라 'bridge'.", Judged(1, 0, True)),
        ("가 나 다 라 마\nQ: english 나 다 라 마", Judged(1, 0, False)),
        ("가—나—다—라—마", Judged(1, 0, False)),
        ("가 나 다 라 마\nbridge", Judged(1, 0, False)),
    ],
)
def test_an_answer_is_judged_by_its_lines_of_five_words(text: str, judged: Judged) -> None:
    assert judge(text, "ko", ENGLISH, korean) == judged


def test_words_are_asked_about_only_where_no_line_fails() -> None:
    rates = rates_of([Judged(1, 0, True), Judged(2, 0, False), Judged(2, 1, True), Judged(0, 0, False)], "ko")

    assert (rates.lpr, rates.wpr, rates.answers, rates.scorable) == (2 / 3, 1 / 2, 4, 3)
    assert rates.lcpr == pytest.approx(4 / 7)


def test_a_language_in_latin_letters_has_no_word_pass_rate() -> None:
    rates = rates_of([Judged(1, 0, True)], "fr")

    assert (rates.wpr, rates.lcpr) == (None, None)


def test_sources_are_averaged_before_languages() -> None:
    right, wrong = Judged(1, 0, False), Judged(1, 1, False)
    rows = [("a", "ko", right), ("b", "ko", wrong), ("a", "ru", right), ("a", "ru", right)]
    found = summarise((Output("monolingual", source, code, ""), one) for source, code, one in rows)

    assert {code: rates.lpr for code, rates in found["monolingual"].items()} == {"ko": 0.5, "ru": 1.0, "all": 0.75}


@needs_lcb
@pytest.mark.parametrize("file", PUBLISHED)
def test_rescoring_published_outputs_gives_the_published_figures(file: str) -> None:
    english = english_words(LCB / "english_words.txt")
    with (LCB / file).open(newline="", encoding="utf-8") as rows:
        outputs = [
            Output(row["task"], row["source"], row["language"], row["completion"]) for row in csv.DictReader(rows)
        ]
    found = summarise((output, judge(output.text, output.language, english)) for output in outputs)

    for task, (lpr, wpr) in PUBLISHED[file].items():
        rates = found[task]["all"]
        assert rates.wpr is not None
        assert [100 * rates.lpr, 100 * rates.wpr] == pytest.approx([lpr, wpr], abs=0.1)


def test_the_packaged_words_are_lower_case_and_long() -> None:
    words = english_words()

    assert {"bridge", "photosynthesis"} <= words
    assert not [word for word in words if len(word) < 4 or not word.islower()]
