"""Ranking bodies of text: by what only they say, in any script, whoever else is there."""

import pytest

from app.core.published import Excerpt, evenly, excerpt, within
from app.rank import Counted, JointIndex, Published

BODIES = [
    ["The ferry to Kettle Island takes 35 minutes.", "The ferry costs 12 crowns."],
    ["Maren Iskold directs the dairy.", "The dairy of Iskold opened in 1931."],
    ["東京タワーは1958年に完成した。", "Музей Норда хранит ключ."],
]


@pytest.fixture(scope="module")
def index() -> JointIndex:
    return JointIndex([Counted.of(texts) for texts in BODIES])


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ("How long does the ferry take?", 0),
        ("Who is the director?", 1),
        ("東京タワーはいつ完成しましたか", 2),
        ("Где хранится ключ?", 2),
    ],
)
def test_the_body_that_a_question_is_about_scores_best(index: JointIndex, question: str, place: int) -> None:
    scores = index.score(question)

    assert scores.argmax() == place
    assert scores.max() > 0


@pytest.mark.parametrize("question", ["", "what is the", "zebra"])
def test_a_question_that_shares_no_word_of_meaning_scores_nothing(index: JointIndex, question: str) -> None:
    assert index.score(question).tolist() == [0, 0, 0]


def test_two_words_in_two_texts_of_one_body_beat_one_word_in_many() -> None:
    bodies = [["Ada Byron lives here.", "The tower is old."], ["Ada.", "Ada.", "Ada.", "Ada."], ["Nothing."]]

    assert JointIndex([Counted.of(texts) for texts in bodies]).score("Where is Ada's tower?").argmax() == 0


def test_one_name_among_many_alike_is_found() -> None:
    first, last = ["Ada", "Bo", "Cy", "Di"], ["Hill", "Lake", "Moor", "Dale"]
    bodies = [[f"phone number of {name} {other}" for other in last] for name in first]
    index = JointIndex([Counted.of(texts) for texts in bodies])

    assert [index.score(f"What is the phone number of {name} Moor?").argmax() for name in first] == [0, 1, 2, 3]


@pytest.mark.parametrize("bodies", [[], [[]], [[""], ["..."]]])
def test_an_index_of_nothing_scores_nothing(bodies: list[list[str]]) -> None:
    assert JointIndex([Counted.of(texts) for texts in bodies]).score("ferry").tolist() == [0.0] * len(bodies)


def test_a_body_joined_of_two_scores_as_the_whole() -> None:
    whole = [Counted.of(texts) for texts in BODIES]
    joined = [Counted.of(texts[:1]).joined(Counted.of(texts[1:])) for texts in BODIES]

    for question in ("ferry island crowns", "Iskold 1931"):
        assert JointIndex(joined).score(question).tolist() == JointIndex(whole).score(question).tolist()


def test_what_is_published_is_read_back_and_another_format_is_not() -> None:
    published = Published.of(Excerpt(BODIES[0], ["How long?"]))
    content = published.to_json().encode()
    again = Published.from_json(content)

    assert again is not None
    assert again.probes == ("How long?",)
    assert JointIndex([again.body]).score("ferry").tolist() == JointIndex([published.body]).score("ferry").tolist()
    assert Published.from_json(content.replace(b'"format":2', b'"format":0')) is None


def test_an_excerpt_holds_passages_and_questions_but_nothing_that_is_not_the_versions_own() -> None:
    examples: list[dict[str, object]] = [
        {"question": "Who directs it?", "answer": "Maren", "origin": "generated", "document": "a.md"},
        {"question": "Number of Bo?", "answer": "555-1", "origin": "pair", "document": "book"},
        {"question": "What is honey?", "answer": "Food", "origin": "replay", "document": ""},
        {"question": "What is missing? ___", "answer": "x", "origin": "gap", "document": "a.md"},
        {"question": 7},
    ]
    found = excerpt(["a.md"], [{"text": "The dairy."}], examples, [{"question": f"q{n}"} for n in range(20)])

    assert found.texts == ["a.md book", "The dairy.", "Who directs it?", "Number of Bo? 555-1"]
    assert len(found.probes) == 8


def test_an_excerpt_of_much_is_taken_from_all_over_it() -> None:
    texts = [f"text {number:03}" for number in range(100)]

    assert within(texts, 10_000) == texts
    kept = within(texts, 80)
    assert sum(map(len, kept)) <= 80
    assert (kept[0], kept[-1]) == ("text 000", "text 090")
    assert evenly(texts, 3) == ["text 000", "text 033", "text 066"]
