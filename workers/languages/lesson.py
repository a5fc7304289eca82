"""What a guard is trained and examined on: prompts as the engine will see them, and plain texts, all as token ids."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.guard_recipe import GuardRecipe
from app.errors import EmptyDocument
from workers.languages.exam import Paper
from workers.languages.points import Prompt
from workers.languages.prompts import clean_texts, hold_out, load_prompts, requested, trainable
from workers.trainer.encode import prompt_ids, text_ids

LEAST_PROMPTS = 5  # the fifth is held out


@dataclass(frozen=True)
class Lesson:
    """Prompts to train on, and the paper of the exam."""

    prompts: Sequence[Prompt]
    paper: Paper


def make_lesson(
    recipe: GuardRecipe, own: Sequence[str], tokenizer: Any, ends: Collection[int], *, longest: int
) -> Lesson:
    """Choose the prompts that may train, hold every fifth out, and encode all.

    Args:
        own: a user's prompts; without them the shipped ones.
        longest: tokens of a prompt, with the chat template's; a longer one is left out.

    Raises:
        EmptyDocument: too few of the user's prompts may train.
    """

    def encoded(texts: Iterable[str]) -> list[Prompt]:
        return [Prompt(text, prompt_ids(tokenizer, text)) for text in texts]

    may_train = trainable(dict.fromkeys(own or load_prompts(recipe.language)), recipe.language)
    fit = [prompt for prompt in encoded(may_train) if len(prompt.ids) <= longest]
    if len(fit) < LEAST_PROMPTS:
        raise EmptyDocument(
            f"Only {len(fit)} of the prompts may train a guard: the others hold foreign text, ask for some, repeat or "
            f"have more than {longest} tokens. Send at least {LEAST_PROMPTS} that want an answer in one language.",
            "prompts",
        )
    train, held_out = hold_out(fit)
    paper = Paper(
        recipe=recipe,
        tokenizer=tokenizer,
        held_out=held_out,
        requested=encoded(requested(recipe.language)),
        clean=[text_ids(tokenizer, text) for text in clean_texts(recipe.language)],
        english=[text_ids(tokenizer, text) for text in clean_texts("en")],
        ends=ends,
    )
    return Lesson(train, paper)
