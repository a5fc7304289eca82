"""Finding passages: by meaning-bearing words, in any script, from any thread."""

import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.core.context import Shown
from app.retrieve import SENTENCES, PartIndex, PassageIndex, best_sentences, terms

PASSAGES = [
    "The ferry to Kettle Island takes 35 minutes.",
    "Maren Iskold directs the cooperative.",
    "Die Fähren legen am Westkai ab.",
    "東京タワーは1958年に完成した。",
    "Музей Норда хранит ключ.",
]


@pytest.fixture(scope="module")
def index() -> PassageIndex:
    return PassageIndex(PASSAGES)


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ("How long does the ferry take?", 0),
        ("Who is the DIRECTOR of the cooperatives?", 1),
        ("Wo legt die Fähre ab?", 2),
        ("東京タワーはいつ完成しましたか", 3),
        ("Где хранится ключ?", 4),
    ],
)
def test_the_best_passage_comes_first(index: PassageIndex, question: str, place: int) -> None:
    hits = index.search(question, 3)

    assert hits[0].index == place
    assert hits[0].text == PASSAGES[place]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(
    ("text", "found_by"),
    [
        ("काले किले", ["काले", "किले"]),
        ("দিল্লি", ["দিল্লি", "দিল্ল*"]),
        ("சென்னை", ["சென்னை", "சென்ன*"]),
        ("กรุงปี", ["กร", "รุ", "ุง", "งป", "ปี"]),
        ("မြန်", ["မြ", "ြန", "န်"]),
        ("costs 3.5", ["costs", "3", "5"]),
    ],
)
def test_words_keep_their_vowel_signs_and_scripts_without_spaces_are_found_by_pairs(
    text: str, found_by: list[str]
) -> None:
    assert terms(text) == found_by


def test_words_that_share_consonants_only_are_not_found() -> None:
    assert PassageIndex(["किला", "दे"]).search("काले दो", 2) == []


@pytest.mark.parametrize("question", ["", "???", "what is the", "zebra", "ライオン"])
def test_a_question_that_shares_no_word_of_meaning_finds_nothing(index: PassageIndex, question: str) -> None:
    assert index.search(question, 3) == []


@pytest.mark.parametrize("texts", [[], [""], ["...", "!!"]])
def test_an_index_of_nothing_finds_nothing(texts: list[str]) -> None:
    assert PassageIndex(texts).search("ferry", 3) == []


def test_more_than_there_are_may_be_asked_for() -> None:
    assert [hit.index for hit in PassageIndex(["a ferry"]).search("ferry", 50)] == [0]


def test_a_thousand_passages_are_searched_from_many_threads_in_milliseconds() -> None:
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(3000)]
    index = PassageIndex([" ".join(rng.choices(words, k=120)) + f" key{n}" for n in range(1000)])

    began = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: index.search(f"where is key{n}", 3)[0].index, range(1000)))

    assert found == list(range(1000))
    assert (time.perf_counter() - began) / 1000 < 0.02  # about 1 ms; the margin is for a busy machine


def test_the_part_that_holds_the_best_passage_is_picked_and_the_first_where_there_is_none() -> None:
    index = PartIndex([PASSAGES[:2], [], PASSAGES[2:]])

    assert [index.pick(question) for question in ("Who directs it?", "Wo legt die Fähre ab?", "zebra", "")] == [
        0,
        2,
        0,
        0,
    ]
    assert [hit.index for hit in index.search("東京タワー", 1)] == [3]


def test_an_installed_jax_is_neither_loaded_nor_searched_with(tmp_path: Path) -> None:
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("print('loaded')\n")
    (tmp_path / "jax" / "lax.py").write_text("def top_k(*_):\n    print('searched')\n")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    search = "from app.retrieve import PassageIndex; print(PassageIndex(['a ferry']).search('ferry', 1)[0].index)"

    def said(program: str) -> list[str]:
        env = os.environ | {"PYTHONPATH": path}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()

    assert said(search) == ["0"]
    assert said(f"{search}; import jax") == ["0", "loaded"], "others may have it"
    assert said(f"import jax.lax; {search}") == ["loaded", "searched", "0"], "at most bm25s's trial at its import"


def test_the_sentences_nearest_to_a_question_are_answers_to_their_own_words() -> None:
    page = Shown("# The pier\n\nMaren Iskold directs it. The ferry takes 35 minutes. It was painted green by Oda Lund.")
    best = best_sentences("How long does the ferry take?", [page])

    assert best == [Shown("ferry takes 35 minutes. The ferry takes 35 minutes.", 24)]
    assert best[0].turns() == [
        {"role": "user", "content": "ferry takes 35 minutes."},
        {"role": "assistant", "content": "The ferry takes 35 minutes."},
    ]


def test_no_more_sentences_are_shown_than_three_and_none_twice() -> None:
    page = Shown(" ".join(f"Ferry number {n} sails at noon from pier {n} too." for n in range(9)))
    best = best_sentences("When does the ferry sail?", [page, page])

    assert len({one.text for one in best}) == len(best) == SENTENCES


@pytest.mark.parametrize(
    "page",
    [
        Shown("東京タワーは1958年に完成した。"),
        Shown("Ferry times"),
        Shown("How long? The ferry takes 35 minutes.", 10),
        Shown("The office is painted green."),
        Shown("How long does the ferry to the island take? 35 minutes."),
    ],
    ids=["words are not spaced", "it says nothing", "it is a pair", "it shares no word with the question", "it asks"],
)
def test_some_passages_have_no_sentence_to_show(page: Shown) -> None:
    assert best_sentences("How long does the ferry take? 東京タワー", [page]) == []


def test_a_sentence_that_a_pair_shows_is_not_shown_again() -> None:
    pair, page = Shown("How long? The ferry takes 35 minutes.", 10), Shown("The ferry takes 35 minutes. It is old.")

    assert best_sentences("How long does the ferry take?", [pair, page]) == []
