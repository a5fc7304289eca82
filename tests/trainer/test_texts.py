"""Summaries, rewrites, implications, relations and self-study: what is kept of a good generator and of a bad one."""

import re
from collections.abc import Callable

import pytest

from app.core.recipe import Recipe
from workers.trainer import prompts
from workers.trainer.examples import Example, Origin
from workers.trainer.generate import generate, mixture
from workers.trainer.passages import Passage
from workers.trainer.prompts import Message
from workers.trainer.sources import Made
from workers.trainer.texts import Texts

TOLD = (
    "The bridge at Tarn was opened in 1931 by Ilse Brandt. Members pay 40 euros a year for the Orla library. The "
    "library keeps the plans of the bridge at Tarn and lends them to Ilse Brandt."
)
OTHER = "The lamp of Vesk is lit every evening by Dov Holmvik, and its oil comes from Arden in 12 barrels."
Write = Callable[[str], str]


def passages(*texts: str) -> list[Passage]:
    return [Passage("d", index, 0, len(text), text) for index, text in enumerate(texts)]


async def made(
    origin: Origin, write: Write, *texts: str, count: int = 4, confirms: str = "Yes.", title: str = ""
) -> Made:
    """Generate texts of one origin; the generator replies by `write` and confirms every statement or none."""

    async def ask(messages: list[Message], _temperature: float, _most_tokens: int) -> str:
        task = messages[-1]["content"]
        return confirms if "Does the passage say so?" in task else write(task)

    async def on_progress(done: int, total: int) -> None:
        told.append((done, total))

    told: list[tuple[int, int]] = []
    found = await generate(
        passages(*texts or (TOLD,)), [Texts(origin, count)], ask, on_progress=on_progress, titles={"d": title}
    )
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    return found


def always(reply: str) -> Write:
    return lambda _task: reply


async def test_a_summary_is_asked_for_by_its_document() -> None:
    summary = "Ilse Brandt opened the bridge at Tarn in 1931. The Orla library costs members 40 euros a year."

    found = await made("summary", always(summary))

    assert found.examples == [Example("chat", 'Summarise "d".', summary, "summary", "d", 0)]


async def test_a_summary_of_one_of_several_passages_says_which() -> None:
    short = {
        TOLD: "Ilse Brandt opened the bridge at Tarn.",
        OTHER: "Dov Holmvik lights the lamp of Vesk every evening.",
    }

    found = await made("summary", lambda task: next(short[told] for told in short if told in task), TOLD, OTHER)

    assert {(one.question, one.answer) for one in found.examples} == {
        ('Summarise part 1 of "d".', short[TOLD]),
        ('Summarise part 2 of "d".', short[OTHER]),
    }


async def test_a_later_passage_is_shown_with_the_title_of_its_document_which_its_texts_may_name() -> None:
    first, later = (
        "# The Lamp of Vesk\n\nIt was lit in 1931 by Ilse Brandt.",
        "Its oil comes from Arden in 12 barrels, every year in May.",
    )
    said = "Arden gives the lamp of Vesk oil."
    shown: list[str] = []

    def write(task: str) -> str:
        shown.append(task)
        return said if later in task else "nothing"

    found = await made("implication", write, first, later, title="The Lamp of Vesk")

    assert [(one.answer, one.passage) for one in found.examples] == [(said, 1)]
    assert all(task.count("The Lamp of Vesk") == 1 for task in shown)


async def test_several_summaries_of_a_passage_take_turns() -> None:
    said = iter(["Ilse Brandt opened the bridge at Tarn.", "Members of the Orla library pay 40 euros a year."])

    found = await made("summary", lambda _task: next(said), count=2)

    assert [(one.turn, one.turns) for one in found.examples] == [(0, 2), (1, 2)]
    assert len({one.question for one in found.examples}) == 1


async def test_rewrites_are_learned_as_text() -> None:
    text = (
        "It was Ilse Brandt who opened the bridge at Tarn, in 1931. A year at the Orla library is 40 euros for members."
    )

    found = await made("rewrite", always(f"In 1931 {text[7:]}"))

    assert [(one.kind, one.question, one.origin) for one in found.examples] == [("text", "", "rewrite")]


async def test_each_line_of_implications_is_judged_for_itself() -> None:
    lines = "1. The bridge at Tarn is older than 1940.\n- Ilse Brandt opened a bridge.\n* It has members.\nMembers pay."

    found = await made("implication", always(lines))

    assert [one.answer for one in found.examples] == ["Ilse Brandt opened a bridge.", "Members pay."]
    assert found.dropped == {"not_faithful": 1, "not_grounded": 1}


async def test_relations_are_asked_of_pairs_of_names_and_must_name_both() -> None:
    def write(task: str) -> str:
        one, other = re.findall(r"How are (.*) and (.*) related", task)[0]
        return f"{one} keeps plans for {other}." if "Orla" not in (one, other) else "They share a library and a bridge."

    found = await made("relation", write, count=8)

    assert [one.question for one in found.examples] == ['How are Tarn and Ilse Brandt related according to "d"?']
    assert found.dropped == {"not_grounded": 2}


async def test_self_study_asks_and_answers_with_the_passage_at_hand() -> None:
    def write(task: str) -> str:
        if "reply with it alone" in task:
            seeds.add(next(place for place, seed in enumerate(prompts.SEEDS) if seed in task))
            return f"What do members pay for the Orla library, question {len(seeds)}?"
        asked.append(task)
        return "Members pay 40 euros a year for the Orla library."

    seeds: set[int] = set()
    asked: list[str] = []
    found = await made("self_study", write, count=5)

    assert len(seeds) == 5
    assert all(TOLD in task and "What do members pay" in task for task in asked)
    assert found.examples[0].question == "What do members pay for the Orla library, question 1?"


@pytest.mark.parametrize("request_", ["What is it about?", "What does this passage say of the bridge at Tarn?"])
async def test_a_request_that_could_be_asked_of_any_text_is_dropped(request_: str) -> None:
    found = await made("self_study", always(request_), count=1)

    assert found.examples == []
    assert found.dropped == {"not_grounded": 1}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Ilse Brandt opened the bridge at Tarn in 1932.", "not_faithful"),
        ("Greta Brandt opened the bridge at Tarn in 1931.", "not_faithful"),
        ("Good question! I am happy to help with anything else.", "not_faithful"),
        (TOLD, "copied"),
        ("", "not_grounded"),
        ("The bridge at Tarn was", "not_grounded"),  # cut off
    ],
)
async def test_what_does_not_rest_on_its_passage_is_dropped_and_counted(reply: str, reason: str) -> None:
    found = await made("summary", always(reply), count=1)

    assert found.examples == []
    assert found.dropped == {reason: 1}


async def test_what_the_generator_does_not_confirm_is_dropped() -> None:
    found = await made("summary", always("Ilse Brandt opened the bridge at Tarn."), count=1, confirms="No.")

    assert found.examples == []
    assert found.dropped == {"not_confirmed": 1}


async def test_a_sentence_that_the_limit_cut_off_is_left_out() -> None:
    found = await made("summary", always("Ilse Brandt opened the bridge at Tarn. Members of the Orla"), count=1)

    assert [one.answer for one in found.examples] == ["Ilse Brandt opened the bridge at Tarn."]


def test_a_mixture_holds_what_the_recipe_asks_for() -> None:
    assert [type(kind).__name__ for kind in mixture(Recipe())] == ["Questions"]
    assert mixture(Recipe(questions_per_passage=0)) == []
    assert mixture(Recipe(questions_per_passage=0, rewrites_per_passage=2, relations_per_passage=3)) == [
        Texts("rewrite", 2),
        Texts("relation", 3),
    ]
