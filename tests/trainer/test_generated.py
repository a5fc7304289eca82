"""What was worded before is not asked for again: by the same generator, for the same passage, in the same memory."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina

from app.errors import EngineFailed
from workers.trainer.examples import Example
from workers.trainer.generate import generate
from workers.trainer.generated import MAX_AGE_S, ExampleCache, Owner, drop_generated, owners
from workers.trainer.passages import Passage
from workers.trainer.prompts import Message
from workers.trainer.sources import Kind
from workers.trainer.texts import Texts

TOLD = "The bridge at Tarn was opened in 1931 by Ilse Brandt. It is old and narrow."
OTHER = "The lamp of Vesk is lit every evening by Dov Holmvik. It is bright and new."
SHORT = {TOLD: "Ilse Brandt opened the bridge at Tarn.", OTHER: "Dov Holmvik lights the lamp of Vesk every evening."}


@pytest.fixture(autouse=True)
def _no_back_off() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


MEMORY: Owner = ("acme", "mem_a")
SUMMARY = Texts("summary", 1)


class Teller:
    """A generator that sums up well, after some failures, and counts how often it is asked."""

    def __init__(self, *, fails: int = 0) -> None:
        self.asked, self._fails = 0, fails

    async def ask(self, messages: list[Message], _temperature: float, _most_tokens: int) -> str:
        self.asked += 1
        if self.asked <= self._fails:
            raise EngineFailed("Out of order.")
        task = messages[-1]["content"]
        return "Yes" if "Does the passage say so?" in task else next(SHORT[told] for told in SHORT if told in task)


async def worded(
    cache: ExampleCache, *texts: str, kind: Kind = SUMMARY, teller: Teller | None = None
) -> tuple[int, list[Example]]:
    """Generate with a cache; return how often the generator was asked, and what came of it."""

    async def on_progress(done: int, total: int) -> None:
        told.append((done, total))

    told: list[tuple[int, int]] = []
    teller = teller or Teller()
    passages = [Passage(f"d{index}", 0, 0, len(text), text) for index, text in enumerate(texts)]
    made = await generate(passages, [kind], teller.ask, on_progress=on_progress, cache=cache)
    assert told[-1][0] == told[-1][1]
    return teller.asked, made.examples


def files(home: Path) -> list[Path]:
    return sorted(home.rglob("*.json"))


def a_cache(home: Path, owner: Owner = MEMORY, generator: str = "large", seed: int = 0) -> ExampleCache:
    return ExampleCache(home, owner, generator, seed)


async def test_a_second_time_nothing_is_asked_and_a_further_document_asks_for_itself_alone(tmp_path: Path) -> None:
    first = await worded(a_cache(tmp_path), TOLD)
    again = await worded(a_cache(tmp_path), TOLD)
    more = await worded(a_cache(tmp_path), TOLD, OTHER)

    assert first[0] == 2
    assert again == (0, first[1])
    assert more[0] == 2
    assert [one.answer for one in more[1]] == list(SHORT.values())


@pytest.mark.parametrize(
    ("cache", "kind"),
    [
        ({"generator": "small"}, SUMMARY),
        ({"seed": 1}, SUMMARY),
        ({"owner": ("other", "mem_a")}, SUMMARY),
        ({"owner": ("acme", "mem_b")}, SUMMARY),
        ({}, Texts("summary", 2)),
        ({}, Texts("rewrite", 1)),
    ],
)
async def test_another_generator_seed_memory_or_mixture_asks_again(
    tmp_path: Path, cache: dict[str, Any], kind: Kind
) -> None:
    await worded(a_cache(tmp_path), TOLD)

    asked, _ = await worded(a_cache(tmp_path, **cache), TOLD, kind=kind)

    assert asked > 0


async def test_what_a_failing_generator_left_is_asked_for_again(tmp_path: Path) -> None:
    await worded(a_cache(tmp_path), TOLD, teller=Teller(fails=3))

    assert (await worded(a_cache(tmp_path), TOLD))[0] == 2


async def test_nothing_of_a_memory_that_is_gone_is_left(tmp_path: Path) -> None:
    kept: Owner = ("acme", "mem_b")
    for owner in (MEMORY, kept):
        await worded(a_cache(tmp_path, owner), TOLD)
    assert sorted(owners(tmp_path)) == [MEMORY, kept]

    drop_generated(tmp_path, [MEMORY], now=0.0)

    assert owners(tmp_path) == [kept]
    assert (await worded(a_cache(tmp_path, kept), TOLD))[0] == 0


async def test_what_was_not_used_for_long_is_dropped(tmp_path: Path) -> None:
    await worded(a_cache(tmp_path), TOLD, OTHER)
    before = files(tmp_path)
    for file in before:
        os.utime(file, (0, 0))
    await worded(a_cache(tmp_path), TOLD)  # used again: it begins to age again

    drop_generated(tmp_path, [], now=MAX_AGE_S + 1)

    assert (len(before), len(files(tmp_path))) == (2, 1)


async def test_no_name_and_no_text_of_a_document_is_in_a_path(tmp_path: Path) -> None:
    await worded(a_cache(tmp_path), TOLD)

    (file,) = files(tmp_path)
    assert len(file.stem) == 64
    assert file.parent.relative_to(tmp_path).as_posix() == "cache/examples/acme/mem_a"
