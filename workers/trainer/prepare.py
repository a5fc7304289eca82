"""From a version's documents to what is trained on, what is asked at its gate, and what retrieval finds."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import structlog

from app.core.context import Shown
from app.core.documents import Document
from app.core.published import evenly
from app.core.recipe import Recipe
from app.core.sentences import title_of
from workers.trainer.calls import Ask
from workers.trainer.coverage import ASKING, Coverage, cover, fill
from workers.trainer.divide import Division, divide
from workers.trainer.encode import text_ids
from workers.trainer.exam import LEAST_QUESTIONS, MAX_QUESTIONS, Question, spread
from workers.trainer.examples import (
    Example,
    check_no_overlap,
    from_passages,
    hold_out,
    in_sentences,
    named,
    tell_gaps_apart,
    unseen,
    without_duplicates,
)
from workers.trainer.facts import facts_of
from workers.trainer.generate import OnProgress, generate, mixture
from workers.trainer.generated import ExampleCache
from workers.trainer.keywords import keyword_questions
from workers.trainer.own_questions import Placed, own_questions, questions_of
from workers.trainer.pairs import from_pairs, held_out_pairs, reworded_pairs
from workers.trainer.passages import Passage, cut

log = structlog.get_logger()
HOLD_OUT_EVERY = 2


@dataclass(frozen=True)
class Lesson:
    """What one version is made of.

    Attributes:
        questions: what its gate asks.
        watched: held-out questions that the gate does not ask: `recipe.patience` goes by them.
    """

    examples: list[Example]
    passages: list[Passage]
    questions: list[Question]
    coverage: Coverage = field(default_factory=Coverage)
    watched: list[Question] = field(default_factory=list)


async def prepare(
    documents: Sequence[Document],
    tokenizer: Any,
    recipe: Recipe,
    ask: Ask,
    on_progress: OnProgress,
    *,
    cache: ExampleCache | None = None,
    parts: int = 1,
) -> list[Lesson]:
    """Make a lesson of documents for each part: pairs as they are, prose by passages, questions and worded texts.

    What is worded and held out is the same however many parts there are.

    Raises:
        GeneratorFailed: the generator does not answer.
        QuestionsOverlap: the gate would ask what is trained on.
    """
    pairs = from_pairs(documents)
    reworded = await asyncio.to_thread(reworded_pairs, pairs, wordings=recipe.pair_wordings, seed=recipe.seed)
    prose = await asyncio.to_thread(cut_all, documents, tokenizer, recipe)
    titles = {document.name: title_of(document.text) for document in documents}
    made = await generate(prose, mixture(recipe), ask, on_progress=on_progress, cache=cache, titles=titles)
    asked = await asyncio.to_thread(questions_of, documents, prose)
    own = await asyncio.to_thread(own_questions, asked, titles, wordings=recipe.keyword_questions, seed=recipe.seed)
    keywords = await asyncio.to_thread(
        keyword_questions, prose, titles, per_span=recipe.keyword_questions, seed=recipe.seed
    )
    train, held = hold_out([*pairs, *reworded, *made.examples, *own, *unseen(keywords, own)], HOLD_OUT_EVERY)
    told = await asyncio.to_thread(_texts, prose, tokenizer)
    covering, coverage = _covered([*train, *told], prose, recipe, made.dropped)
    others = await asyncio.to_thread(_others, asked, prose, titles, recipe.seed + 1)
    again = await asyncio.to_thread(held_out_pairs, pairs, covering, seed=recipe.seed + 1)
    held += [*named(again), *unseen(others, covering)]
    check_no_overlap(held, covering)
    taught = in_sentences(covering) if recipe.answers == "sentence" else covering
    self_asked = await asyncio.to_thread(own_questions, asked, titles, wordings=0, seed=recipe.seed)
    held, watched = (held[::2], held[1::2]) if recipe.patience else (held, [])
    whole = Material(pairs, self_asked, prose, covering, taught, held, coverage, watched)
    if parts == 1:
        return [whole.lesson(len(prose))]
    division = await asyncio.to_thread(divide, prose, pairs, tokenizer, parts)
    materials = [whole.of_part(division, number) for number in range(division.parts)]
    before = itertools.accumulate((len(one.pairs) + len(one.asked) for one in materials), initial=len(prose))
    return [one.lesson(first) for one, first in zip(materials, before, strict=False)]


@dataclass(frozen=True)
class Material:
    """What lessons are made of.

    Attributes:
        asked: the documents' own questions as they stand.
        train: examples before they are answered in whole sentences, `taught` after; `held` and `watched` in neither.
    """

    pairs: list[Example]
    asked: list[Example]
    prose: list[Passage]
    train: list[Example]
    taught: list[Example]
    held: list[Example]
    coverage: Coverage
    watched: list[Example] = field(default_factory=list)

    def of_part(self, division: Division, part: int) -> Self:
        """Return what belongs to one part; what was dropped is told of all of them."""

        def own(examples: list[Example]) -> list[Example]:
            return [one for one in examples if division.of_example(one) == part]

        return replace(
            self,
            pairs=own(self.pairs),
            asked=own(self.asked),
            prose=[one for one in self.prose if division.of_passage(one.document, one.index) == part],
            train=own(self.train),
            taught=own(self.taught),
            held=own(self.held),
            watched=own(self.watched),
            coverage=replace(
                self.coverage,
                facts=[one for one in self.coverage.facts if division.of_passage(one.document, one.passage) == part],
            ),
        )

    def lesson(self, first: int) -> Lesson:
        """Make the lesson; `first` is the index of the first pair among the passages, above every one's of prose.

        Held-out questions and pairs are asked half and half, where there are enough of both. Where there are fewer than
        `LEAST_QUESTIONS` in all, some that were made of prose and trained on come to them; with neither, those alone.
        """
        held = spread(self.held, max(MAX_QUESTIONS // 2, MAX_QUESTIONS - len(self.pairs)))
        own = spread(self.pairs, MAX_QUESTIONS - len(held))
        most = LEAST_QUESTIONS if held or own else MAX_QUESTIONS
        own += evenly([one for one in self.train if one.origin in ASKING], most - len(held) - len(own))
        questions = _held_out(held)
        questions += [Question(one.question, one.answer, one.sentence) for one in own]
        shown = _as_passages(without_duplicates([*self.pairs, *self.asked]), first)
        watched = _held_out(spread(self.watched, MAX_QUESTIONS))
        return Lesson(self.taught, [*self.prose, *shown], questions, self.coverage, watched)


def _held_out(examples: Sequence[Example]) -> list[Question]:
    return [Question(one.question, one.answer, one.sentence, "held_out") for one in examples]


def _others(asked: Sequence[Placed], prose: Sequence[Passage], titles: Mapping[str, str], seed: int) -> list[Example]:
    """Word what the gate asks by another seed than the training's: one wording of each thing that is asked for."""
    keywords = keyword_questions(prose, titles, per_span=1, seed=seed, held_out=True)
    others = [one for one in keywords if one.origin == "keywords"]  # a gap is always trained on
    return [*named(own_questions(asked, titles, wordings=1, seed=seed)), *others]


def _texts(prose: Sequence[Passage], tokenizer: Any) -> list[Example]:
    """Learn each passage as text; one of a single token, as a page's number is, has none to predict."""
    return [one for one in from_passages(prose) if len(text_ids(tokenizer, one.answer)) > 1]


def _covered(
    examples: list[Example], prose: Sequence[Passage], recipe: Recipe, dropped: Mapping[str, int]
) -> tuple[list[Example], Coverage]:
    """Add a gap for each fact that nothing asks for, unless the recipe wants no questions at all.

    Of gaps that nothing tells apart none is left, and what they asked for is told as not covered.
    """
    facts = facts_of(prose)
    wants = recipe.keyword_questions or mixture(recipe)
    filled = tell_gaps_apart([*examples, *(fill(facts, examples) if wants else ())], prose)
    coverage = Coverage(cover(facts, filled), dict(dropped))
    if facts:
        log.info("examples.covered", **coverage.summary())
    return filled, coverage


def cut_all(documents: Sequence[Document], tokenizer: Any, recipe: Recipe) -> list[Passage]:
    """Cut every prose document."""
    return [
        passage
        for document in documents
        if document.kind == "prose"
        for passage in cut(
            document.text,
            document.name,
            tokenizer,
            tokens=recipe.passage_tokens,
            overlap_tokens=recipe.passage_overlap_tokens,
        )
    ]


def _as_passages(pairs: Sequence[Example], first: int) -> list[Passage]:
    """Let retrieval find uploaded pairs and the documents' own too: each one as a short passage."""
    shown = [Shown.of_pair(pair.question, pair.answer) for pair in pairs]
    return [
        Passage(pair.document, number, 0, len(one.text), one.text, one.answer_start)
        for number, (pair, one) in enumerate(zip(pairs, shown, strict=True), first)
    ]
