"""Counting what is in documents has an end."""

import pytest

from app.core.documents import Document
from app.core.load import Facts
from app.errors import UnreadableDocument
from app.services.plan import count_apart


def prose(text: str) -> Document:
    return Document("a.md", "prose", text, (), "d" * 64, len(text))


PROSE = prose("It was founded on 14 March 1987 by Oswin Tarrel.")


async def test_documents_are_counted_in_time() -> None:
    assert await count_apart([PROSE]) == Facts(sentences=1, spans=2)


async def test_documents_that_take_too_long_to_count_are_refused_in_a_sentence() -> None:
    with pytest.raises(UnreadableDocument, match="in parts"):
        await count_apart([PROSE], time_limit_s=0)


@pytest.mark.parametrize(
    "text",
    [
        "it rains at sea. " * 20_000,
        "Dr. " * 80_000,
        f"x{'.' * 300_000}x",
        " ".join(f"the boat took {number} kegs along," for number in range(10_000)),
    ],
    ids=["lower case", "abbreviations", "dots", "one sentence"],
)
async def test_a_long_text_without_an_end_of_a_sentence_is_counted_in_time(text: str) -> None:
    found = await count_apart([prose(text)])  # what looks at all of it again for each stop or span is ended

    assert found.sentences == 1
