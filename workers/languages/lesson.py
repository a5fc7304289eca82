"""What a guard is trained and examined on: prompts as the engine will see them, and plain texts, all as token ids."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.guard_recipe import GuardRecipe
from app.errors import EmptyDocument
from workers.languages.exam import Paper
from workers.languages.points import Prompt
from workers.languages.prompts import clean_texts, hold_out, load_prompts, requested, split_prompts
from workers.trainer.encode import prompt_ids, text_ids

LEAST_PROMPTS = 5  # the fifth is held out


@dataclass(frozen=True)
class Lesson:
    """Prompts to train on, and the paper of the exam."""

    prompts: Sequence[Prompt]
    paper: Paper


def make_lesson(recipe: GuardRecipe, own: Sequence[str], tokenizer: Any, ends: Collection[int]) -> Lesson:
    """Choose the prompts that may train, hold every fifth out, and encode all.

    Args:
        own: a user's prompts; without them the shipped ones.

    Raises:
        EmptyDocument: too few of the user's prompts may train.
    """
    may_train, _ = split_prompts(dict.fromkeys(own or load_prompts(recipe.language)), recipe.language)
    if len(may_train) < LEAST_PROMPTS:
        raise EmptyDocument(
            f"Only {len(may_train)} of the prompts may train a guard: the others hold foreign text, ask for some or "
            f"repeat. Send at least {LEAST_PROMPTS} that want an answer in one language alone.",
            "prompts",
        )
    train, held_out = hold_out(may_train)

    def encoded(texts: Sequence[str]) -> list[Prompt]:
        return [Prompt(text, prompt_ids(tokenizer, text)) for text in texts]

    paper = Paper(
        recipe=recipe,
        tokenizer=tokenizer,
        held_out=encoded(held_out),
        requested=encoded(requested(recipe.language)),
        clean=[text_ids(tokenizer, text) for text in clean_texts(recipe.language)],
        english=[text_ids(tokenizer, text) for text in clean_texts("en")],
        ends=ends,
    )
    return Lesson(encoded(train), paper)
