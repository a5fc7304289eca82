"""`python -m workers.trainer.calibrate`: how much this base model's LoRAs hold, measured over rank and load.

A measurement is one training of invented pairs by the default recipe, with only the rank changed and the scale kept,
and the share of the pairs it then recalls whole. Next comes whatever the law, as far as it is known, says least about;
where it tells the recall of all that is left to 0.1, the sweep is over. Measurements are kept in the registry as they
come; those that are there are not made again. What happens is told on stdout, one JSON object a line, for `lorekeep
calibrate` to show.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from app.core.capacity import PRIOR, BaseShape, Law, Point, conditions_of
from app.core.documents import Document, Pair
from app.core.errors import InvalidValue
from app.core.load import learned_text
from app.core.recipe import Recipe
from app.errors import StartupError
from app.processes import die_with_parent, exit_code_of
from app.settings import Settings, load_settings
from app.stores.bases import BaseStore
from app.stores.redis import connect
from workers.base_model import base_digest, find_base
from workers.chat import load_tokenizer, stop_ids
from workers.trainer.batches import pack, split_packs
from workers.trainer.describe import describe_base
from workers.trainer.encode import Row, encode_chat
from workers.trainer.fit import fit_law
from workers.trainer.forward import label_logits, packs_exactly
from workers.trainer.model import attach_lora, load_base
from workers.trainer.null_space import general_rows
from workers.trainer.phonebook import MOST, phone_book
from workers.trainer.restraint import restraint
from workers.trainer.train import PACK_TOKENS, Loop, Step

TELL_S = 0.5
SURE = 0.1  # a recall that the law tells within so much need not be measured
Told = dict[str, Any]
Place = tuple[int, int]  # rank and facts of a measurement


@dataclass(frozen=True)
class Sweep:
    """What may be measured: every rank with every number of facts, for at most so long."""

    ranks: tuple[int, ...]
    facts: tuple[int, ...]
    minutes: float
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            StartupError: the text says what can.
        """
        if max(self.facts) > MOST:
            raise StartupError(f"--loads: the phone book has {MOST:,} numbers, so give that many facts at most.")
        try:
            replace(self.recipe, rank=max(self.ranks))
        except InvalidValue as error:
            raise StartupError(f"--ranks: {error}") from error

    @property
    def places(self) -> list[Place]:
        """Every measurement, small loads first."""
        return [(rank, facts) for facts in sorted(set(self.facts)) for rank in sorted(set(self.ranks))]


class Bench:
    """A base model, and trainings on it one after another.

    Attributes:
        tokens_per_s: how fast the last one was.
    """

    tokens_per_s = 0.0

    def __init__(self, settings: Settings, shape: BaseShape) -> None:
        if settings.trainer_threads:
            torch.set_num_threads(settings.trainer_threads)
        base = find_base(settings.model)
        folder = str(base)
        self._home, self._digest = settings.home, base_digest(base, settings.home)
        self._shape, self._max_tokens = shape, settings.max_model_len
        self._tokenizer, self._ends = load_tokenizer(folder), stop_ids(folder)
        self._general = general_rows(self._tokenizer)
        self._model = load_base(folder, settings.device, settings.dtype)

    def measure(self, rank: int, facts: int, recipe: Recipe) -> Iterator[Step | Point]:
        """Train, yielding each step, and yield the measurement last."""
        recipe = replace(recipe, rank=rank, alpha=rank * recipe.alpha // recipe.rank)
        rows = [
            encode_chat(self._tokenizer, one.question, one.answer, stop_ids=self._ends, max_tokens=self._max_tokens)
            for one in _book(rank, facts)
        ]
        model = attach_lora(self._model, recipe, recipe.seed)
        began, trained = time.monotonic(), 0
        try:
            held_back = restraint(model, self._general, recipe, self._home, self._digest)
            for step in Loop(model, rows, recipe, restraint=held_back):
                trained += step.tokens
                yield step
            self.tokens_per_s = round(trained / (time.monotonic() - began), 1)
            recalled = count_recalled(model, rows)
        finally:
            self._model = model.unload()
        yield Point(rank, self._parameters(rank, recipe), facts, self._tokens(rank, facts), recalled)

    def doubt(self, law: Law, place: Place, recipe: Recipe) -> float:
        """Return how wide a range, 0-1, the law gives for the recall of a measurement."""
        rank, facts = place
        low, high = law.recall_range(self._tokens(rank, facts), self._parameters(rank, recipe))
        return high - low

    def _parameters(self, rank: int, recipe: Recipe) -> int:
        return self._shape.lora_parameters(rank, recipe)

    def _tokens(self, rank: int, facts: int) -> int:
        text = learned_text(Document("phone book", "pairs", "", _book(rank, facts), "", 0))
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def _book(rank: int, facts: int) -> tuple[Pair, ...]:
    """Return the pairs of a measurement, the same ones every time."""
    return phone_book(facts, f"{rank}/{facts}")


@torch.no_grad()
def count_recalled(model: Any, rows: Sequence[Row]) -> int:
    """Count the rows whose every answer token, the end included, is the likeliest: greedy decoding says just these."""
    model.eval()
    recalled = 0
    for group in split_packs(rows, PACK_TOKENS if packs_exactly(model, rows) else 0):
        packed = pack(group, model.device)
        logits, _ = label_logits(model, packed)  # (S, V)
        right = logits.argmax(-1) == packed.labels.to(logits.device)
        recalled += sum(bool(one.all()) for one in packed.by_row(right))
    return recalled


async def calibrate(settings: Settings, bases: BaseStore, sweep: Sweep) -> AsyncIterator[Told]:
    """Measure what is not measured yet, fit the law and keep it; yield what happens.

    Raises:
        StartupError: the time was too short for one measurement.
    """
    began = time.monotonic()
    shape = await asyncio.to_thread(describe_base, settings)
    await bases.describe(shape)
    conditions = conditions_of(sweep.recipe)
    kept = await bases.points(shape.digest, conditions)
    done = {(one.rank, one.facts) for one in kept}
    missing = [place for place in sweep.places if place not in done]
    yield {"kind": "sweep", "base": shape.name, "kept": len(sweep.places) - len(missing), "points": len(sweep.places)}
    if missing:
        bench = await asyncio.to_thread(Bench, settings, shape)
        for told in measurements(bench, missing, kept, sweep.recipe, began + 60 * sweep.minutes):
            if told["kind"] == "point":
                await bases.keep_point(shape.digest, conditions, Point(**told["point"]))
                await bases.note_speed(shape.digest, round(told["tokens_per_s"] * sweep.recipe.step_cost, 1))
            yield told
    points = await bases.points(shape.digest, conditions)
    if not points:
        raise StartupError(f"Nothing could be measured in {sweep.minutes:g} minutes: give more with --minutes.")
    law = fit_law(points, base=shape.digest, conditions=conditions, fitted_at=time.time())
    await bases.keep_law(law)
    yield {"kind": "law", "law": asdict(law), "points": [asdict(one) for one in points]}


def measurements(
    bench: Bench, places: Collection[Place], kept: Sequence[Point], recipe: Recipe, deadline: float
) -> Iterator[Told]:
    """Measure one place after another until the deadline; what is cut off by it is not counted."""
    told_at, points, left = 0.0, list(kept), list(places)
    while left:
        law = fit_law(points, base="", conditions={}, fitted_at=0) if points else PRIOR
        doubts = {place: bench.doubt(law, place, recipe) for place in left}
        rank, facts = max(left, key=doubts.__getitem__)
        if points and doubts[rank, facts] < SURE:
            yield {"kind": "over", "left": len(left), "why": f"the law tells their recall to {SURE}"}
            return
        left.remove((rank, facts))
        for step in bench.measure(rank, facts, recipe):
            now, place = time.monotonic(), {"rank": rank, "facts": facts}
            if isinstance(step, Point):
                points.append(step)
                yield {"kind": "point", "point": asdict(step), "tokens_per_s": bench.tokens_per_s}
            elif now > deadline:
                yield {"kind": "over", "left": len(left) + 1, "why": "the time is over"}
                return
            elif now - told_at > TELL_S:
                told_at = now
                yield {"kind": "step", **place, "step": step.index, "steps": step.steps, "loss": round(step.loss, 4)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate as the arguments say; returns the exit code."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is for the command that started this
    transformers_logging.disable_progress_bar()
    parser = argparse.ArgumentParser(prog="python -m workers.trainer.calibrate")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--ranks", type=int, nargs="+", required=True)
    parser.add_argument("--facts", type=int, nargs="+", required=True)
    given = parser.parse_args(arguments)
    asyncio.run(_run(load_settings(), Sweep(tuple(given.ranks), tuple(given.facts), given.minutes)))
    return 0


async def _run(settings: Settings, sweep: Sweep) -> None:
    async with connect(settings.registry_url) as registry:
        async for told in calibrate(settings, BaseStore(registry), sweep):
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
