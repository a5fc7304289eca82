"""The teacher of a distillation: the base model, asked with the passage in its prompt as mode `context` asks it.

Of what is replayed it is the teacher as well, with the same prompt: what it would say is to stay as it is.

It speaks once, before training: what it says of each answer token is kept as the row's target.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from app.core.recipe import Recipe
from workers.trainer.batches import pack
from workers.trainer.encode import Row, prompt_ids
from workers.trainer.examples import Example
from workers.trainer.forward import label_logits, packs_exactly
from workers.trainer.passages import Passage
from workers.trainer.targets import Target, read

PACK_TOKENS = 512  # computed together, what the rows share counted once; eager attention costs their square
FORWARD_TOKENS = 64  # what a forward takes by itself, in the time of tokens


def with_teacher_prompts(
    rows: Sequence[Row], examples: Sequence[Example], passages: Sequence[Passage], tokenizer: Any, max_tokens: int
) -> list[Row]:
    """Give each row whose question was made of a passage the prompt that shows it.

    A row that is longer with its passage than the engine serves gets none, and is learned as it is.
    """
    texts = {(passage.document, passage.index): passage.text for passage in passages}
    return [_shown(row, one, texts, tokenizer, max_tokens) for row, one in zip(rows, examples, strict=True)]


def ask_teacher(
    model: Any, rows: Sequence[Row], recipe: Recipe, on_read: Callable[[int, int], None] | None = None
) -> list[Target | None]:
    """Return the target of each row that has a teacher's prompt.

    The teacher may have misread the passage: where its likeliest token is not the label it has no say, and the label
    alone is learned; unless `recipe.distillation` is 1, which learns nothing but the teacher. It has on all replay.

    Args:
        model: from `attach_lora`; its LoRA is off meanwhile.
        on_read: told how many of the rows are read, and how many there are.
    """
    shown = {place: _as_teacher_sees(row) for place, row in enumerate(rows) if row.teacher_prompt}
    targets: list[Target | None] = [None] * len(rows)
    was_training, done = model.training, 0
    model.eval()
    with torch.no_grad(), model.disable_adapter():
        for group in _groups(model, shown):
            said = _ask(model, [shown[place] for place in group], with_hidden=recipe.hidden_weight > 0)
            for place, target in zip(group, said, strict=True):
                targets[place] = _on_labels_of(
                    rows[place], target, always=recipe.distillation == 1 or rows[place].replayed
                )
            done += len(group)
            if on_read:
                on_read(done, len(shown))
    model.train(was_training)
    return targets


def _shown(row: Row, example: Example, texts: dict[tuple[str, int], str], tokenizer: Any, max_tokens: int) -> Row:
    text = texts.get((example.document, example.passage)) if example.passage is not None else None
    if text is None or example.kind != "chat":
        return row
    prompt = prompt_ids(tokenizer, example.question, [text])
    fits = len(prompt) + len(row) - row.answer_start <= max_tokens
    return replace(row, teacher_prompt=prompt) if fits else row


def _as_teacher_sees(row: Row) -> Row:
    return Row(row.teacher_prompt + row.input_ids[row.answer_start :], len(row.teacher_prompt))


def _groups(model: Any, shown: dict[int, Row]) -> Iterator[list[int]]:
    """Yield the rows' places in groups to compute at once.

    Rows that begin with the same passage come together, for a pack computes that once; rows that share little, as those
    that are replayed do, as far as it costs no more than apart.
    """
    places = sorted(shown, key=lambda place: shown[place].input_ids)
    if not places or not packs_exactly(model, list(shown.values())):
        yield from ([place] for place in places)
        return
    group: list[int] = []
    for run in _runs(shown, places):
        if group and not _pays([shown[place] for place in group], [shown[place] for place in run]):
            yield group
            group = []
        group += run
    yield group


def _runs(shown: dict[int, Row], places: Sequence[int]) -> Iterator[list[int]]:
    """Yield places, in order, as long as each row shares half of itself with the run's first."""
    run: list[int] = []
    for place in places:
        row = shown[place]
        if run and (
            2 * _common(shown[run[0]], row) < len(row) or _cost([shown[one] for one in run] + [row]) > PACK_TOKENS
        ):
            yield run
            run = []
        run.append(place)
    yield run


def _pays(rows: Sequence[Row], more: Sequence[Row]) -> bool:
    """Say whether both are better computed in one forward than in one each."""
    together = _cost([*rows, *more])
    return together <= PACK_TOKENS and together <= _cost(rows) + _cost(more) + FORWARD_TOKENS


def _cost(rows: Sequence[Row]) -> int:
    """Count the tokens that a pack of rows computes; they are in order, so all share what the first and last do."""
    return sum(map(len, rows)) - (len(rows) - 1) * _common(rows[0], rows[-1])


def _common(row: Row, other: Row) -> int:
    pairs = zip(row.input_ids, other.input_ids, strict=False)
    return next((place for place, (one, two) in enumerate(pairs) if one != two), min(len(row), len(other)))


def _ask(model: Any, rows: Sequence[Row], *, with_hidden: bool) -> list[Target]:
    packed = pack(rows, model.device)
    logits, hidden = label_logits(model, packed, hidden=with_hidden)
    states = packed.by_row(hidden) if hidden is not None else [None] * len(rows)
    said = {
        row: read(own, torch.arange(len(own)), there)
        for row, own, there in zip(packed.rows, packed.by_row(logits), states, strict=True)
    }
    return [said[row] for row in rows]  # a pack has an order of its own


def _on_labels_of(row: Row, target: Target, *, always: bool) -> Target:
    """Place a target on the row's answer, without what the teacher has misread."""
    labels = torch.tensor(row.input_ids[row.answer_start :])
    agrees = (target.ids[:, 0] == labels) | always
    return replace(target, at=target.at + row.answer_start)[agrees]
