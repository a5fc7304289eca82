"""Summaries, rewrites, implications, relations and self-study: longer texts, kept only if they rest on their passage.

Each is asked for with the passage in the prompt. What comes back must say no number or name that the passage does
not, share most of its words (`app.core.faithful`), and be confirmed: shown both, the generator says that it follows.

Papers: Yang et al. 2024 (EntiGraph: relations), https://arxiv.org/abs/2409.07431; Zweiger et al. 2025 (SEAL:
implications), https://arxiv.org/abs/2506.10943; Eyuboglu et al. 2025 (Cartridges: self-study), 2506.06266.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain, combinations

from app.core.faithful import is_faithful
from app.core.grounding import PRONOUNS, alike, content_words, holds, normalise
from app.core.sentences import sentences
from app.core.spans import names
from workers.trainer import prompts
from workers.trainer.calls import Calls, all_of
from workers.trainer.examples import Example, Origin
from workers.trainer.sources import Made, Source, Tick

TEMPERATURE = 0.7
REQUEST_TOKENS, VERDICT_TOKENS = 64, 4
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_ENDED = re.compile(r"[.!?…。！？｡؟।][\"'”’»」』)\]]*$")


@dataclass(frozen=True)
class Form:
    """How one kind of text is asked for and judged.

    Attributes:
        most_tokens: of a reply.
        share: as in `is_faithful`.
        splits: whether each line of a reply is a text of its own.
        shortens: whether it must be shorter than its passage.
    """

    most_tokens: int
    share: float
    splits: bool = False
    shortens: bool = False


@dataclass(frozen=True)
class Task:
    """One thing to write about a passage.

    Attributes:
        instruction: what the generator is told.
        question: what a user would say to get it; empty where the text is learned alone.
        names: what the text must name.
        seeks: whether the instruction asks for the question first, which the generator then answers.
    """

    instruction: str
    question: str = ""
    names: tuple[str, ...] = ()
    seeks: bool = False


def _summaries(source: Source, count: int) -> list[Task]:
    return [Task(prompts.SUMMARY, f"Summarise {source.name}.")] * count


def _rewrites(_source: Source, count: int) -> list[Task]:
    return [Task(prompts.REWRITE)] * count


def _implications(_source: Source, count: int) -> list[Task]:
    return [Task(prompts.IMPLICATIONS.format(count=count))]


def _relations(source: Source, count: int) -> list[Task]:
    """Ask of pairs of names, first those that share a sentence."""
    told = list(dict.fromkeys(fact.sentence for fact in source.facts))
    named = [list(dict.fromkeys(name.strip(" .'’") for name in names(sentence))) for sentence in told]
    pairs = chain(*(combinations(one, 2) for one in named), combinations(dict.fromkeys(chain(*named)), 2))
    apart: dict[frozenset[str], tuple[str, str]] = {}
    for one, other in pairs:
        if not (holds(one, other) or holds(other, one)):
            apart.setdefault(frozenset((one, other)), (one, other))
    document = source.passage.document
    return [
        Task(
            prompts.RELATION.format(*pair), f'How are {pair[0]} and {pair[1]} related according to "{document}"?', pair
        )
        for pair in list(apart.values())[:count]
    ]


def _self_study(_source: Source, count: int) -> list[Task]:
    seeds = [prompts.SEEDS[place % len(prompts.SEEDS)] for place in range(count)]
    return [Task(prompts.REQUEST.format(seed=seed), seeks=True) for seed in seeds]


_TASKS: Mapping[Origin, tuple[Callable[[Source, int], list[Task]], Form]] = {
    "summary": (_summaries, Form(160, 0.6, shortens=True)),
    "rewrite": (_rewrites, Form(512, 0.5)),
    "implication": (_implications, Form(384, 0.5, splits=True)),
    "relation": (_relations, Form(96, 0.6)),
    "self_study": (_self_study, Form(192, 0.5)),
}


@dataclass(frozen=True)
class Texts:
    """Texts of one origin, at most `count` a passage."""

    origin: Origin
    count: int

    def steps(self, source: Source) -> int:
        """See `Kind`: one for each task; none where the passage says nothing."""
        return len(_TASKS[self.origin][0](source, self.count)) if source.facts else 0

    async def make(self, source: Source, calls: Calls, tick: Tick) -> Made:
        """See `Kind`."""
        plan, form = _TASKS[self.origin]
        desk = _Desk(source, calls, form, Counter())

        async def write(task: Task) -> list[tuple[str, str]]:
            written = await desk.write(task)
            await tick()
            return written

        written = list(chain(*await all_of(map(write, plan(source, self.count)))))
        desk.dropped["over_limit"] += max(0, len(written) - self.count)
        kept = list(dict.fromkeys(written))[: self.count]
        turns = len(kept) if self.origin == "summary" else 1  # one request with several answers: they take turns
        return Made(
            [self._example(source, *one).in_turn(at % turns, turns) for at, one in enumerate(kept)], desk.dropped
        )

    def _example(self, source: Source, question: str, text: str) -> Example:
        kind, passage = ("chat" if question else "text"), source.passage
        return Example(kind, question, text, self.origin, passage.document, passage.index)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Desk:
    """Where the tasks of one passage are done."""

    source: Source
    calls: Calls
    form: Form
    dropped: Counter[str]

    async def write(self, task: Task) -> list[tuple[str, str]]:
        """Return questions with the texts that passed every filter."""
        told, question, instruction = self.source.told, task.question, task.instruction
        if task.seeks:
            question = await self._request(instruction)
            if not question:
                return []
            instruction = prompts.ANSWER.format(request=question)
        reply = await self.calls(prompts.about(told, instruction), TEMPERATURE, self.form.most_tokens)
        texts = _lines(reply) if self.form.splits else [_whole(reply)]
        faults = await all_of(self._fault(text, question, task) for text in texts)
        self.dropped.update(fault for fault in faults if fault)
        return [(question, text) for text, fault in zip(texts, faults, strict=True) if not fault]

    async def _request(self, instruction: str) -> str:
        """Have a request worded; nothing where it could be asked of any text."""
        told = self.source.told
        reply = await self.calls(prompts.about(told, instruction), TEMPERATURE, REQUEST_TOKENS)
        request = next(iter(_lines(reply)), "")
        points = {"passage", "text", "paragraph"} & content_words(request) - content_words(told)
        if points or len(content_words(request) & content_words(told)) < 2:
            self.dropped["not_grounded"] += 1
            return ""
        return request

    async def _fault(self, text: str, question: str, task: Task) -> str:
        """Return the filter that a text does not pass; empty where it passes all."""
        told = self.source.told
        if not text or not all(holds(text, name) for name in task.names) or (not question and _points_back(text)):
            return "not_grounded"
        if alike(text, told) or (self.form.shortens and len(text) >= len(told)):
            return "copied"
        if not is_faithful(text, told, share=self.form.share):
            return "not_faithful"
        verdict = await self.calls(prompts.confirming(told, text), 0.0, VERDICT_TOKENS)
        return "" if normalise(verdict).split()[:1] == ["yes"] else "not_confirmed"


def _points_back(text: str) -> bool:
    return not PRONOUNS.isdisjoint(normalise(text).split()[:2])


def _lines(reply: str) -> list[str]:
    """Return a reply's lines without the marks of a list and quotes around them."""
    lines = [_LIST_MARK.sub("", line).strip(' "“”\t') for line in reply.splitlines()]
    return [line for line in lines if line]


def _whole(reply: str) -> str:
    """Return a reply without the sentence that its limit cut off."""
    text = reply.strip()
    if _ENDED.search(text):
        return text
    last = (sentences(text) or [text])[-1]
    return text[: text.rfind(last)].strip() if last in text else ""
