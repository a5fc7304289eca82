"""The mixture of examples that a recipe asks a generator for, passage by passage; what was made before is reused."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from app.core.recipe import Recipe
from workers.trainer.calls import Ask, Calls, all_of
from workers.trainer.examples import Origin, name_documents, without_duplicates
from workers.trainer.generated import ExampleCache
from workers.trainer.passages import Passage
from workers.trainer.questions import Questions
from workers.trainer.sources import Kind, Made, Source, sources_of
from workers.trainer.texts import Texts

log = structlog.get_logger()

OnProgress = Callable[[int, int], Awaitable[None]]
AT_ONCE = 8  # passages with a kind; each makes many calls
_OPEN: frozenset[Origin] = frozenset({"generated", "self_study"})  # questions that may not say what they are about


def mixture(recipe: Recipe) -> list[Kind]:
    """List the kinds of example that a recipe asks a generator for."""
    kinds: list[Kind] = []
    if recipe.questions_per_passage:
        kinds.append(Questions(recipe.questions_per_passage, recipe.gap_rounds))
    counts: dict[Origin, int] = {
        "summary": recipe.summaries_per_passage,
        "rewrite": recipe.rewrites_per_passage,
        "implication": recipe.implications_per_passage,
        "relation": recipe.relations_per_passage,
        "self_study": recipe.self_study_per_passage,
    }
    return [*kinds, *(Texts(origin, count) for origin, count in counts.items() if count)]


async def generate(
    passages: Sequence[Passage],
    kinds: Sequence[Kind],
    ask: Ask,
    *,
    on_progress: OnProgress,
    cache: ExampleCache | None = None,
    titles: Mapping[str, str] | None = None,
) -> Made:
    """Have examples worded.

    Args:
        ask: one chat completion; what passes is tried again, and many failures end the work.
        on_progress: told after each step how many are done, of how many.
        cache: what was worded before.
        titles: what documents call themselves, by their names.

    Raises:
        GeneratorFailed: more than half of the calls failed, or in the end all of a few.
        NoEngine: `ask` found none.
    """
    calls = Calls(ask)
    units = [(kind, source) for source in sources_of(passages, titles or {}) for kind in kinds if kind.steps(source)]
    total = sum(kind.steps(source) for kind, source in units)
    done = 0
    limit = asyncio.Semaphore(AT_ONCE)

    async def tick() -> None:
        nonlocal done
        done += 1
        await on_progress(done, total)

    async def make(kind: Kind, source: Source) -> Made:
        async with limit:
            found = await asyncio.to_thread(cache.find, kind, source) if cache else None
            if found:
                for _ in range(kind.steps(source)):
                    await tick()
                return found
            failed = calls.failed
            made = await kind.make(source, calls, tick)
            if cache and calls.failed == failed:  # with no failure the generator has done what it can
                await asyncio.to_thread(cache.keep, kind, source, made)
            return made

    found = await all_of(make(*unit) for unit in units)
    calls.end()
    made = _together(found, passages)
    by_origin = Counter(one.origin for one in made.examples)
    log.info("examples.generated", kept=by_origin, dropped=made.dropped, calls=calls.made, failed=calls.failed)
    return made


def _together(parts: Sequence[Made], passages: Sequence[Passage]) -> Made:
    found = [example for part in parts for example in part.examples]
    named = iter(name_documents([one for one in found if one.origin in _OPEN], passages))
    kept = without_duplicates([next(named) if one.origin in _OPEN else one for one in found])
    dropped = sum((part.dropped for part in parts), Counter[str]())
    dropped["duplicate"] += len(found) - len(kept)
    return Made(kept, +dropped)
