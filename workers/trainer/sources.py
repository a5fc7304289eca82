"""What a generator works on, and what a kind of example that it words has to offer: the protocol between them."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from workers.trainer.calls import Calls
from workers.trainer.examples import Example
from workers.trainer.facts import Fact, facts_of
from workers.trainer.passages import Passage

Tick = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Source:
    """A passage with the facts that are its own.

    Attributes:
        name: what a question calls it: its document, with its part of that where it is not all of it.
        title: what its document calls itself, if anything.
    """

    passage: Passage
    facts: tuple[Fact, ...]
    name: str
    title: str

    @property
    def told(self) -> str:
        """What a generator is shown and may say: the passage, behind its document's title where it lacks that."""
        text = self.passage.text
        return text if self.title in text else f"{self.title}\n\n{text}"


@dataclass
class Made:
    """What came of asking a generator; `dropped` counts what each filter took out."""

    examples: list[Example] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


class Kind(Protocol):
    """One kind of example; a frozen dataclass, whose fields are its limits."""

    def steps(self, source: Source) -> int:
        """Return how often `make` will call `tick`; none where there is nothing to ask for."""

    async def make(self, source: Source, calls: Calls, tick: Tick) -> Made:
        """Ask for examples of one passage and keep what rests on it.

        Raises:
            GeneratorFailed, NoEngine: as `Calls` does.
        """


def sources_of(passages: Sequence[Passage], titles: Mapping[str, str]) -> list[Source]:
    """Pair each passage with its facts; `titles` are what documents call themselves, by their names."""
    facts: dict[Passage, list[Fact]] = {}
    for fact in facts_of(passages):
        facts.setdefault(fact.passage, []).append(fact)
    parts = Counter(passage.document for passage in passages)
    return [
        Source(one, tuple(facts.get(one, ())), _name(one, parts[one.document]), titles.get(one.document, ""))
        for one in passages
    ]


def _name(passage: Passage, parts: int) -> str:
    return f'part {passage.index + 1} of "{passage.document}"' if parts > 1 else f'"{passage.document}"'
