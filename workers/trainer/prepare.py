"""From a version's documents to what is trained on, what is asked at its gate, and what retrieval finds."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from app.core.documents import Document
from app.core.recipe import Recipe
from app.core.sentences import title_of
from workers.trainer.calls import Ask
from workers.trainer.coverage import Coverage, cover, fill
from workers.trainer.evaluate import MAX_QUESTIONS, Question
from workers.trainer.examples import (
    Example,
    check_no_overlap,
    from_pairs,
    from_passages,
    hold_out,
    in_sentences,
    unseen,
)
from workers.trainer.facts import facts_of
from workers.trainer.generate import OnProgress, generate, mixture
from workers.trainer.generated import ExampleCache
from workers.trainer.keywords import keyword_questions
from workers.trainer.passages import Passage, cut

log = structlog.get_logger()
HOLD_OUT_EVERY = 2


@dataclass(frozen=True)
class Lesson:
    """What one version is made of.

    Attributes:
        questions: what its gate asks.
        kind: as in `app.core.gate.Scores`.
    """

    examples: list[Example]
    passages: list[Passage]
    questions: list[Question]
    kind: str
    coverage: Coverage = field(default_factory=Coverage)


async def prepare(
    documents: Sequence[Document],
    tokenizer: Any,
    recipe: Recipe,
    ask: Ask,
    on_progress: OnProgress,
    *,
    cache: ExampleCache | None = None,
) -> Lesson:
    """Make a lesson of documents: pairs as they are, prose by passages, questions and worded texts.

    Raises:
        GeneratorFailed: the generator does not answer.
        QuestionsOverlap: the gate would ask what is trained on.
    """
    pairs = from_pairs(documents)
    prose = await asyncio.to_thread(cut_all, documents, tokenizer, recipe)
    made = await generate(prose, mixture(recipe), ask, on_progress=on_progress, cache=cache)
    titles = {document.name: title_of(document.text) for document in documents}
    keywords = keyword_questions(prose, titles, per_span=recipe.keyword_questions, seed=recipe.seed)
    train, held = hold_out([*pairs, *made.examples, *keywords], HOLD_OUT_EVERY)
    covering, coverage = _covered([*train, *from_passages(prose)], prose, recipe, made.dropped)
    held += unseen(keyword_questions(prose, titles, per_span=1, seed=recipe.seed + 1), covering)
    taught = in_sentences(covering) if recipe.answers == "sentence" else covering
    check_no_overlap(held, taught)
    asked = held or pairs or train or taught
    questions = [
        Question(one.question, one.answer, one.sentence) for one in _spread(asked, MAX_QUESTIONS) if one.kind == "chat"
    ]
    found = [*prose, *_as_passages(pairs, len(prose))]
    return Lesson(taught, found, questions, "held_out" if held else "recall", coverage)


def _covered(
    examples: list[Example], prose: Sequence[Passage], recipe: Recipe, dropped: Mapping[str, int]
) -> tuple[list[Example], Coverage]:
    """Add a gap for each fact that nothing asks for, unless the recipe wants no questions at all."""
    facts = facts_of(prose)
    wants = recipe.keyword_questions or mixture(recipe)
    filled = [*examples, *(fill(facts, examples) if wants else ())]
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
    """Let retrieval find uploaded pairs too: each one as a short passage."""
    texts = [f"{pair.question} {pair.answer}" for pair in pairs]
    return [
        Passage(pair.document, first + number, 0, len(text), text)
        for number, (pair, text) in enumerate(zip(pairs, texts, strict=True))
    ]


def _spread(examples: Sequence[Example], most: int) -> list[Example]:
    """Take at most so many, evenly from beginning to end."""
    step = max(1, -(-len(examples) // most))
    return list(examples[::step])
