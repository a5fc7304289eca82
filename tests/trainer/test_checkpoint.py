"""A training cut off anywhere goes on to the weights that an undisturbed one has."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from app.core.memory import Version
from app.core.partition import Part
from app.core.recipe import Recipe
from app.stores.versions import Job
from tests.factories import a_memory, a_version
from tests.trainer.tiny import byte_tokenizer, llama, weights
from workers.trainer.checkpoint import TARGETS, Checkpoint, drop_leftovers
from workers.trainer.encode import Row, encode_chat
from workers.trainer.exam import Question
from workers.trainer.examples import Example
from workers.trainer.model import attach_lora
from workers.trainer.passages import Passage
from workers.trainer.prepare import Lesson
from workers.trainer.targets import Target
from workers.trainer.teacher import ask_teacher
from workers.trainer.train import Loop

RECIPE = Recipe(
    rank=4, alpha=8, dropout=0.1, learning_rate=1e-2, lr_ratio=1.0, epochs=8, batch_size=2, stop_loss=0.0, min_steps=1
)
TOKENIZER = byte_tokenizer()
ROWS = [replace(encode_chat(TOKENIZER, f"Who is {n}?", f"{n * 7}"), turn=n % 2, turns=2) for n in range(12)]
LESSON = Lesson(
    [Example("chat", "Who?", "Bob", "pair", "d")],
    [Passage("d", 0, 0, 3, "Bob")],
    [Question("Who?", "Bob")],
    watched=[Question("Who is it?", "Bob", kind="held_out")],
)


@pytest.fixture
def version() -> Version:
    return a_version(a_memory())


def lora() -> Any:
    return attach_lora(llama(), RECIPE, RECIPE.seed)


@pytest.mark.parametrize("cut", [1, 3, 4, 9])
def test_a_loop_resumed_after_any_step_ends_with_the_same_weights(cut: int) -> None:
    undisturbed, first, second = lora(), lora(), lora()
    losses = [step.loss for step in Loop(undisturbed, ROWS, RECIPE)]

    loop = Loop(first, ROWS, RECIPE)
    steps = iter(loop)
    begun = [next(steps).loss for _ in range(cut)]
    resumed = Loop(second, ROWS, RECIPE)
    resumed.resume(loop.state())
    rest = [step.loss for step in resumed]

    assert begun + rest == losses
    assert all(map(torch.equal, weights(second), weights(undisturbed)))


@pytest.mark.parametrize("cut", [2, 6, 7, 20])
def test_a_loop_with_teacher_focus_and_patience_resumes_to_the_same_weights(
    cut: int, tmp_path: Path, version: Version
) -> None:
    recipe = replace(RECIPE, distillation=0.7, hidden_weight=0.1, focus_below=0.9, patience=3)
    rows = [replace(row, teacher_prompt=(5, 6, *row.input_ids[: row.answer_start])) for row in ROWS]
    held_out = [encode_chat(TOKENIZER, f"Who was {n}?", f"{n * 7}") for n in range(4)]
    undisturbed, first, second = lora(), lora(), lora()
    checkpoint = Checkpoint(tmp_path, version, "b" * 64)
    targets = ask_teacher(undisturbed, rows, recipe)
    checkpoint.save({"targets": [one and vars(one) for one in targets]}, TARGETS)
    kept = checkpoint.load(TARGETS)
    assert kept is not None
    taught = [replace(row, target=target) for row, target in zip(rows, targets, strict=True)]
    again = [replace(row, target=Target(**fields)) for row, fields in zip(rows, kept["targets"], strict=True)]
    losses = [step.loss for step in Loop(undisturbed, taught, recipe, held_out)]

    loop = Loop(first, taught, recipe, held_out)
    steps = iter(loop)
    begun = [next(steps).loss for _ in range(cut)]
    checkpoint.save(loop.state())
    resumed = Loop(second, again, recipe, held_out)
    resumed.resume(checkpoint.load() or {})
    rest = [step.loss for step in resumed]

    assert len(losses) > 20
    assert begun + rest == losses
    assert all(map(torch.equal, weights(second), weights(undisturbed)))


def test_rows_that_rest_rest_as_long_after_a_cut() -> None:
    recipe = replace(RECIPE, rank=8, epochs=300, dropout=0.0)
    rows = [replace(row, turn=0, turns=1) for row in ROWS[:5]]
    undisturbed = lora()
    loop = Loop(undisturbed, rows, recipe)
    steps, states = map(list, zip(*((step, deepcopy(loop.state())) for step in loop), strict=True))
    shown = {step.epoch: 0 for step in steps}
    for step in steps:
        shown[step.epoch] += step.tokens
    assert min(shown.values()) < max(shown.values()), "some have rested"

    for done in (len(steps) - back for back in (2, 5, 9, 14)):
        model = lora()
        resumed = Loop(model, rows, recipe)
        resumed.resume(states[done - 1])

        assert list(resumed) == steps[done:]
        assert all(map(torch.equal, weights(model), weights(undisturbed)))


def test_early_stopping_is_the_same_after_a_cut() -> None:
    recipe = replace(RECIPE, stop_loss=0.5, epochs=90, dropout=0.0, batch_size=1)
    rows = [replace(row, turn=0, turns=1) for row in ROWS[:2]]
    losses = [step.loss for step in Loop(lora(), rows, recipe)]
    loop = Loop(lora(), rows, recipe)
    steps = iter(loop)
    begun = [next(steps).loss for _ in range(len(losses) - 2)]
    resumed = Loop(lora(), rows, recipe)
    resumed.resume(loop.state())

    assert len(losses) < 180
    assert begun + [step.loss for step in resumed] == losses


def test_a_row_is_shown_in_the_epochs_of_its_turn_only() -> None:
    tokens: dict[int, int] = {}
    for step in Loop(lora(), ROWS, RECIPE):
        tokens[step.epoch] = tokens.get(step.epoch, 0) + step.tokens

    by_turn = [sum(len(row) for row in ROWS if row.turn == turn) for turn in (0, 1)]
    assert tokens == {epoch: by_turn[(epoch - 1) % 2] for epoch in range(1, 9)}


def attempt(home: Path, version: Version, rows: list[Row], told: Connection) -> None:
    """Train with a checkpoint after every step, telling each step's number, then the weights."""
    checkpoint = Checkpoint(home, version, "b" * 64)
    model = lora()
    loop = Loop(model, rows, RECIPE)
    state = checkpoint.load()
    if state:
        loop.resume(state)
    for step in loop:
        checkpoint.save(loop.state())
        told.send(step.index)
    told.send([weight.numpy() for weight in weights(model)])


def outcomes(home: Path, version: Version, kill_at: int) -> Iterator[Any]:
    """Run one attempt in a process of its own; kill it after the step `kill_at`."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=attempt, args=(home, version, ROWS, theirs))
    process.start()
    theirs.close()
    while True:
        try:
            said = ours.recv()
        except EOFError:
            break
        if said == kill_at:
            os.kill(process.pid or 0, signal.SIGKILL)
        yield said
    process.join()


def test_five_kills_in_one_training_leave_the_weights_of_an_undisturbed_one(tmp_path: Path, version: Version) -> None:
    undisturbed = lora()
    steps = list(Loop(undisturbed, ROWS, RECIPE))
    seen: list[int] = []
    for kill_at in (2, 5, 9, 10, 17, -1):
        *told, last = outcomes(tmp_path, version, kill_at)
        seen += told if kill_at == -1 else [*told, last]

    assert all(map(torch.equal, [torch.from_numpy(one) for one in last], weights(undisturbed)))
    assert set(seen) == set(range(1, len(steps) + 1))
    assert len(seen) < 2 * len(steps)  # each attempt went on where the one before was


def test_a_lesson_is_found_by_the_next_attempt_and_by_no_other_recipe_or_base(tmp_path: Path, version: Version) -> None:
    Checkpoint(tmp_path, version, "b" * 64).save_lessons([LESSON])
    other = replace(version, recipe=Recipe(rank=2).to_dict())

    assert Checkpoint(tmp_path, version, "b" * 64).load_lessons() == [LESSON]
    assert Checkpoint(tmp_path, version, "c" * 64).load_lessons() == []
    assert Checkpoint(tmp_path, other, "b" * 64).load_lessons() == []
    assert Checkpoint(tmp_path, version, "b" * 64, 2).load_lessons() == []


def test_a_state_of_another_recipe_is_not_gone_on_with(tmp_path: Path, version: Version) -> None:
    Checkpoint(tmp_path, version, "b" * 64).save({"done": 3})

    assert Checkpoint(tmp_path, version, "b" * 64).load() == {"done": 3}
    assert Checkpoint(tmp_path, replace(version, recipe={}), "b" * 64).load() is None


def test_what_was_kept_for_jobs_that_are_over_is_dropped(tmp_path: Path, version: Version) -> None:
    over = a_version(a_memory())
    for one in (version, over):
        Checkpoint(tmp_path, one, "b" * 64).save_lessons([LESSON])

    drop_leftovers(tmp_path, [Job(version.tenant, version.memory_id, version.number)])

    assert Checkpoint(tmp_path, version, "b" * 64).load_lessons() == [LESSON]
    assert Checkpoint(tmp_path, over, "b" * 64).load_lessons() == []
    assert not list(tmp_path.rglob(f"*{over.memory_id}*"))


def test_parts_keep_their_states_apart_and_are_dropped_together(tmp_path: Path, version: Version) -> None:
    whole = Checkpoint(tmp_path, version, "b" * 64, 2)
    first, second = (whole.of_part(Part(index, 2)) for index in (1, 2))
    whole.save_lessons([LESSON, LESSON])
    first.save({"done": 1})

    assert (first.load(), second.load()) == ({"done": 1}, None)
    first.drop()
    assert (first.load(), whole.load_lessons()) == (None, [LESSON, LESSON])
    second.save({"done": 2})
    drop_leftovers(tmp_path, [])
    assert second.load() is None
