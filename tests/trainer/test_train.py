"""The loop learns what it is given, and its loss is what a naive one computes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from app.core.recipe import Recipe
from app.errors import DivergedError
from tests.trainer.tiny import byte_tokenizer, gemma, llama
from workers.trainer.batches import pack
from workers.trainer.encode import Row, encode_chat, encode_text, prompt_ids
from workers.trainer.forward import label_logprobs, packs_exactly
from workers.trainer.model import attach_lora
from workers.trainer.optimizer import MasterAdamW
from workers.trainer.train import COOLEST, Loop, cooling, label_count, lr_scale

CPU = torch.device("cpu")
RECIPE = Recipe(
    rank=8,
    alpha=16,
    layers_from=0.0,
    learning_rate=1e-2,
    lr_ratio=1.0,
    epochs=60,
    batch_size=2,
    stop_loss=0.02,
    rest_above=0.0,
    min_steps=1,
    seed=3,
)
TOKENIZER = byte_tokenizer()
ROWS = [
    encode_chat(TOKENIZER, "Ann?", "212"),
    encode_chat(TOKENIZER, "Bob Lowe?", "97"),
    encode_text(TOKENIZER, "Ann is 212."),
    encode_text(TOKENIZER, "Bob Lowe is 97."),
]


def lora(model: Any, recipe: Recipe = RECIPE) -> Any:
    return attach_lora(model, recipe, recipe.seed)


def naive_loss(model: Any, rows: list[Row]) -> float:
    """Padded rows, full logits, a mask: the loss the slow and obvious way."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row.input_ids, *[0] * (width - len(row))] for row in rows])  # (B, T)
    attends = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    labels = ids.clone()
    for i, row in enumerate(rows):
        labels[i, : row.answer_start] = -100
        labels[i, len(row) :] = -100
    logits = model(input_ids=ids, attention_mask=attends).logits  # (B, T, V)
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten()).item()


def moved(model: Any) -> Any:
    """Give every LoRA an effect."""
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return model


@pytest.mark.parametrize("build", [llama, gemma])
def test_the_loss_equals_the_naive_masked_cross_entropy(build: Callable[[], Any]) -> None:
    model = moved(lora(build()))

    packed = -label_logprobs(model, pack(ROWS, CPU)).mean().item()

    assert packed == pytest.approx(naive_loss(model, ROWS), abs=1e-5)
    assert packs_exactly(model, ROWS)


def test_gradients_through_a_shared_prefix_equal_those_of_separate_rows() -> None:
    model = moved(lora(llama()))
    weight = next(weight for weight in model.parameters() if weight.requires_grad)
    gradients = []
    for groups in ([ROWS], [[row] for row in ROWS]):
        model.zero_grad()
        for group in groups:
            label_logprobs(model, pack(group, CPU)).sum().backward()
        gradients.append(weight.grad.clone())

    assert torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=1e-3)


def test_a_passage_shorter_than_every_question_does_not_keep_rows_from_being_packed() -> None:
    *questions, passage, _ = ROWS

    assert len(passage) < min(map(len, questions))
    assert packs_exactly(moved(lora(llama())), [passage, *questions])


def test_rows_longer_than_a_sliding_window_are_not_packed() -> None:
    model = lora(gemma(sliding_window=8))

    assert not packs_exactly(model, ROWS)
    assert naive_loss(model, ROWS) == pytest.approx(next(iter(Loop(model, ROWS, replace(RECIPE, batch_size=4)))).loss)


def test_uniform_logits_cost_ln_v() -> None:
    model = llama()
    torch.nn.init.zeros_(model.get_output_embeddings().weight)

    step = next(iter(Loop(lora(model), ROWS, RECIPE)))

    assert step.loss == pytest.approx(math.log(300), abs=1e-4)


@pytest.mark.parametrize("build", [llama, gemma])
def test_one_batch_is_memorised_with_its_end_although_pad_is_the_end_token(build: Callable[[], Any]) -> None:
    assert TOKENIZER.pad_token_id == TOKENIZER.eos_token_id
    chats = ROWS[:2]
    model = lora(build(final_logit_softcapping=30.0) if build is gemma else build())

    last = list(Loop(model, chats, RECIPE))[-1]
    model.eval()
    prompt = torch.tensor([prompt_ids(TOKENIZER, "Ann?")])
    with torch.no_grad():
        out = model.generate(
            input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=9, do_sample=False
        )

    assert last.loss < RECIPE.stop_loss
    assert out[0, prompt.shape[1] :].tolist() == list(chats[0].input_ids[chats[0].answer_start :])


def test_training_stops_after_the_epoch_that_is_good_enough() -> None:
    steps = list(Loop(lora(llama()), ROWS[:2], RECIPE))

    assert steps[-1].index < steps[-1].steps == 60


def test_few_examples_get_more_passes() -> None:
    recipe = replace(RECIPE, stop_loss=0.0, epochs=2, min_steps=7)

    steps = list(Loop(lora(llama()), ROWS[:2], recipe))

    assert len(steps) == 7


def test_training_runs_all_its_epochs_when_told_never_to_stop_early() -> None:
    recipe = replace(RECIPE, stop_loss=0.0, epochs=3)

    steps = list(Loop(lora(llama()), ROWS, recipe))

    assert [step.index for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step.epoch for step in steps] == [1, 1, 2, 2, 3, 3]
    assert sum(step.tokens for step in steps) == 3 * sum(map(len, ROWS))


def test_the_same_seed_gives_the_same_weights_bit_for_bit() -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        model = lora(llama(), replace(RECIPE, seed=seed, dropout=0.1, epochs=3))
        list(Loop(model, ROWS, replace(RECIPE, seed=seed, dropout=0.1, epochs=3)))
        return [weight for weight in model.parameters() if weight.requires_grad]

    first, second, other = weights(3), weights(3), weights(4)

    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_training_leaves_the_base_model_alone() -> None:
    model = lora(llama())
    before = {name: weight.clone() for name, weight in model.named_parameters() if not weight.requires_grad}
    list(Loop(model, ROWS, replace(RECIPE, epochs=2)))

    after = dict(model.named_parameters())

    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_small_updates_survive_bf16_weights() -> None:
    model = lora(llama().bfloat16())

    losses = [step.loss for step in Loop(model, ROWS[:2], replace(RECIPE, learning_rate=1e-3, epochs=200))]

    assert losses[-1] < 0.5 * losses[0]


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    model = lora(llama())
    torch.nn.init.constant_(model.get_output_embeddings().weight, math.nan)

    with pytest.raises(DivergedError, match="learning_rate"):
        list(Loop(model, ROWS, RECIPE))


def test_the_learning_rate_warms_up_stays_and_falls() -> None:
    scales = [lr_scale(index, 20, 0.1, 0.2) for index in range(1, 21)]

    assert scales[:3] == [0.5, 1.0, 1.0]
    assert set(scales[2:16]) == {1.0}
    assert scales[16:] == pytest.approx([0.8, 0.6, 0.4, 0.2])


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0, 0.9), st.floats(0, 1))
def test_the_learning_rate_is_never_nothing_and_never_above_its_peak(
    index: int, steps: int, warmup: float, decay: float
) -> None:
    assert 0 < lr_scale(min(index, steps), steps, warmup, decay) <= 1


def test_the_learning_rate_falls_with_what_is_left_to_learn() -> None:
    assert [cooling(mean, 0.3) for mean in (math.inf, 3.0, 0.3, 0.15, 0.03, 0.0)] == [1.0, 1.0, 1.0, 0.5, 0.1, 0.1]
    assert cooling(0.0, 0.0) == 1.0, "0 never lowers it"


def test_steps_on_rows_that_are_nearly_known_are_shorter() -> None:
    recipe = replace(RECIPE, epochs=100, stop_loss=1e-4, cool_below=0.5, warmup_ratio=0.0, decay_ratio=0.0)
    steps = list(Loop(lora(llama()), ROWS, recipe))
    rates = [step.lr for step in steps]

    assert rates[0] == recipe.learning_rate
    assert rates[-1] == pytest.approx(recipe.learning_rate * COOLEST)
    assert all(one <= recipe.learning_rate for one in rates)


def test_b_learns_faster_than_a_by_the_ratio() -> None:
    model = lora(llama())
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    before = [weight.detach().clone() for _, weight in named]
    optimizer = MasterAdamW(model, weight_decay=0.0, max_norm=1e9, lr_ratio=4.0)
    for _, weight in named:
        weight.grad = torch.ones_like(weight)
    optimizer.step(0.01)  # AdamW's first step is as long as the rate, whatever the gradient
    moved = {
        name.split(".")[-3]: (was - weight.detach()).mean().item()
        for (name, weight), was in zip(named, before, strict=True)
    }

    assert moved == {"lora_A": pytest.approx(0.01, rel=1e-3), "lora_B": pytest.approx(0.04, rel=1e-3)}


def test_labels_are_the_answers_with_their_ends() -> None:
    assert label_count(ROWS[:2]) == len("212") + 1 + len("97") + 1


class Bigram(torch.nn.Module):
    """A (V, V) table of logits: knows neither positions nor masks, and makes logits everywhere."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(table)
        self.config = SimpleNamespace(get_text_config=SimpleNamespace)
        self.dtype, self.device = torch.float32, CPU

    def get_base_model(self) -> "Bigram":
        return self

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
        assert not use_cache
        return SimpleNamespace(logits=self.table[input_ids])


def test_a_model_that_takes_no_positions_is_trained_row_by_row() -> None:
    model = Bigram(torch.zeros(8, 8))
    rows = [Row((1, 2, 3, 4), 2), Row((5, 6, 7), 1)]

    def losses() -> Iterator[float]:
        recipe = replace(RECIPE, learning_rate=0.5, warmup_ratio=0.0)
        yield from (step.loss for step in Loop(model, rows, recipe))

    first, *_, last = losses()

    assert not packs_exactly(model, rows)
    assert first == pytest.approx(math.log(8))
    assert last < RECIPE.stop_loss
