"""The teacher is the base model with the passage in its prompt, and what it says moves the student."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from app.core.recipe import Recipe
from app.services.context import Cited, Reading
from tests.trainer.reference import divergence
from tests.trainer.tiny import byte_tokenizer, gemma, llama
from workers.trainer.batches import pack
from workers.trainer.encode import Row, encode_chat, encode_text, prompt_ids
from workers.trainer.examples import Example
from workers.trainer.forward import label_logits
from workers.trainer.model import attach_lora
from workers.trainer.passages import Passage
from workers.trainer.targets import Target, distance
from workers.trainer.teacher import ask_teacher, with_teacher_prompts
from workers.trainer.train import Loop

CPU = torch.device("cpu")
TOKENIZER = byte_tokenizer()
PASSAGES = [Passage("a.md", 0, 0, 9, "Ann is 212."), Passage("b.md", 0, 0, 9, "Bob is 97.")]
EXAMPLES = [
    Example("chat", "Ann?", "212", "keywords", "a.md", 0),
    Example("chat", "Bob?", "97", "generated", "b.md", 0),
    Example("chat", "Cy?", "3", "pair", "c.csv"),
    Example("text", "", "Ann is 212.", "passage", "a.md", 0),
]
ROWS = [
    encode_text(TOKENIZER, one.answer) if one.kind == "text" else encode_chat(TOKENIZER, one.question, one.answer)
    for one in EXAMPLES
]
RECIPE = Recipe(
    rank=8,
    alpha=16,
    learning_rate=5e-3,
    lr_ratio=1.0,
    epochs=150,
    batch_size=4,
    stop_loss=0.0,
    min_steps=1,
    distillation=1.0,
)


def rows(max_tokens: int = 512) -> list[Row]:
    return with_teacher_prompts(ROWS, EXAMPLES, PASSAGES, TOKENIZER, max_tokens)


def lora(build: Any = llama) -> Any:
    return attach_lora(build(), RECIPE, 0)


def taught(model: Any, recipe: Recipe = RECIPE) -> list[Row]:
    return [replace(row, target=target) for row, target in zip(rows(), ask_teacher(model, rows(), recipe), strict=True)]


@torch.no_grad()
def apart(model: Any, row: Row) -> tuple[float, float]:
    """Return how far a student is from its target, in nats and in hidden states."""
    logits, hidden = label_logits(model, pack([row], CPU), hidden=True)
    assert row.target is not None
    assert hidden is not None
    states = distance(hidden, row.target).mean().item() if row.target.hidden is not None else 0.0
    return divergence(logits, row.target).mean().item(), states


def test_the_teacher_sees_what_mode_context_shows() -> None:
    body = {"messages": [{"role": "user", "content": "Ann?"}]}
    served = Reading([Cited("a.md", 0, "Ann is 212.", 1.0)]).put_into(body)["messages"]
    prompt = TOKENIZER.apply_chat_template(served, add_generation_prompt=True, return_dict=False)

    assert rows()[0].teacher_prompt == tuple(prompt)
    assert rows()[0].teacher_prompt == prompt_ids(TOKENIZER, "Ann?", ["Ann is 212."])


def test_questions_made_of_a_passage_have_a_teacher_and_nothing_else_has() -> None:
    assert [bool(row.teacher_prompt) for row in rows()] == [True, True, False, False]
    assert [target is not None for target in ask_teacher(lora(), rows(), RECIPE)] == [True, True, False, False]


def test_a_passage_too_long_for_the_engine_is_not_shown_and_its_row_is_learned_as_it_is() -> None:
    longest = max(len(row.teacher_prompt) + len(row) - row.answer_start for row in rows())

    assert [bool(row.teacher_prompt) for row in rows(longest - 1)][:2] == [False, True]
    assert rows(1) == ROWS


@pytest.mark.parametrize("build", [llama, gemma])
def test_the_teacher_is_the_base_model_whatever_the_adapter(build: Any) -> None:
    model = lora(build)
    before = ask_teacher(model, rows(), RECIPE)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=1.0)
    after = ask_teacher(model, rows(), RECIPE)
    row = rows()[0]
    seen = Row(row.teacher_prompt + row.input_ids[row.answer_start :], len(row.teacher_prompt))
    logits, _ = label_logits(lora(build), pack([seen], CPU))

    for one, other in zip(before[:2], after[:2], strict=True):
        assert isinstance(one, Target)
        assert isinstance(other, Target)
        assert torch.equal(one.logprobs, other.logprobs)
    assert before[0] is not None
    assert divergence(logits, before[0]).abs().max().item() < 1e-3


@pytest.mark.parametrize("hidden_weight", [0.0, 1.0])
def test_the_student_moves_to_its_teacher(hidden_weight: float) -> None:
    recipe = replace(RECIPE, hidden_weight=hidden_weight)
    model = lora()
    learned = taught(model, recipe)
    before = apart(model, learned[0])
    list(Loop(model, learned[:2], recipe))
    after = apart(model, learned[0])

    assert before[0] > 0.01
    assert after[0] < 0.1 * before[0]
    if hidden_weight:
        assert after[1] < 0.8 * before[1]


def test_a_teacher_that_misreads_has_no_say_unless_it_is_all_there_is() -> None:
    model = lora()
    everything = ask_teacher(model, rows(), RECIPE)
    agreed = ask_teacher(model, rows(), replace(RECIPE, distillation=0.9))

    for row, one, other in zip(rows()[:2], everything[:2], agreed[:2], strict=True):
        assert one is not None
        assert other is not None
        right = one.ids[:, 0] == torch.tensor(row.input_ids[row.answer_start :])
        assert len(one.at) == len(row) - row.answer_start
        assert torch.equal(other.at, one.at[right])
    assert sum(len(one.at) for one in agreed if one) < sum(len(one.at) for one in everything if one)


def test_asking_leaves_the_adapter_ready_to_train() -> None:
    model = lora()
    trainable = [name for name, weight in model.named_parameters() if weight.requires_grad]
    ask_teacher(model, rows(), RECIPE)

    assert model.training
    assert [name for name, weight in model.named_parameters() if weight.requires_grad] == trainable


def test_what_the_questions_of_one_passage_share_is_computed_once() -> None:
    text = "The ferry at Tarn is rung in by Oda Lund. " * 4
    examples = [
        Example("chat", f"Who is {n}?", f"{n}", "keywords", name, 0) for n in range(10) for name in ("a.md", "b.md")
    ]
    passages = [Passage(name, 0, 0, len(text), f"{name}: {text}") for name in ("a.md", "b.md")]
    alone = [encode_chat(TOKENIZER, one.question, one.answer) for one in examples]
    shown = with_teacher_prompts(alone, examples, passages, TOKENIZER, 512)
    model = lora()
    computed: list[int] = []
    model.register_forward_pre_hook(
        lambda _module, _args, given: computed.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    targets = ask_teacher(model, shown, RECIPE)
    packed, probes = computed[3:], computed[:3]  # whether packing is right is tried on two rows first

    assert len(probes) == 3
    assert len(packed) == 2
    assert sum(packed) < 0.3 * sum(len(row.teacher_prompt) for row in shown)
    assert all(target is not None for target in targets)


def test_rows_that_share_nothing_are_computed_many_at_once_and_as_they_are_alone() -> None:
    ids = torch.randint(40, 200, (40, 24), generator=torch.Generator().manual_seed(0)).tolist()
    shown = [replace(Row(tuple(own), 8), replayed=True, teacher_prompt=tuple(own[:8])) for own in ids]
    shown += [replace(row, teacher_prompt=row.input_ids[: row.answer_start], replayed=True) for row in ROWS[3:]]
    model = lora()
    forwards: list[int] = []
    model.register_forward_pre_hook(lambda *_: forwards.append(1))

    targets = ask_teacher(model, shown, RECIPE)
    together = len(forwards)

    assert together <= 3 + 2  # the probes, and 41 rows of 24 tokens
    for row, target in zip(shown, targets, strict=True):
        [alone] = ask_teacher(model, [row], RECIPE)
        assert target is not None
        assert alone is not None
        assert torch.equal(target.at, alone.at)
        assert torch.allclose(target.logprobs.exp(), alone.logprobs.exp(), atol=1e-4)
