"""A base model described from its configuration, and held to what training makes of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.core.capacity import Base, BaseShape
from app.core.documents import Document
from app.core.fields import TARGETS
from app.core.load import Load, count_facts, learned_text, rows_an_epoch, tokens_an_epoch
from app.core.plan import Wish, make_plan
from app.core.recipe import Recipe
from app.errors import StartupError
from app.settings import Settings
from tests.trainer.tiny import byte_tokenizer, gemma, llama
from workers.base_model import base_digest
from workers.trainer.describe import describe_base
from workers.trainer.encode import encode_chat
from workers.trainer.make import encode_examples
from workers.trainer.model import attach_lora, save_adapter
from workers.trainer.prepare import prepare
from workers.trainer.train import shown

DATA = Path(__file__).parent.parent / "data"


def described(build: Callable[[], Any], folder: Path) -> BaseShape:
    build().save_pretrained(folder / "tiny")
    byte_tokenizer().save_pretrained(folder / "tiny")
    return describe_base(Settings(_env_file=None, home=folder, base_model=str(folder / "tiny"), dtype="float32"))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("layers_from", "layer_share"), [(0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.5, 0.1)])
@pytest.mark.parametrize("build", [llama, gemma])
def test_the_parameters_are_exactly_those_that_training_gives_a_lora(
    build: Callable[[], Any], layers_from: float, layer_share: float, target: str, tmp_path: Path
) -> None:
    shape = described(build, tmp_path)
    recipe = Recipe(rank=3, alpha=6, target=target, layers_from=layers_from, layer_share=layer_share)
    model = attach_lora(build(), recipe, seed=0)
    save_adapter(model, tmp_path / "adapter")
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    plan = make_plan(Load(count_facts([]), 9), Base(shape), Wish(recipe, rank_given=True), max_rank=16)

    assert shape.lora_parameters(3, recipe) == plan.parameters == trained
    size = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    assert plan.adapter_mb == pytest.approx(trained * 4 / 1e6, abs=1e-3)
    assert trained * 4 < size < trained * 4 + 10_000  # and a header


def test_a_base_model_is_known_by_its_digest_and_the_tokens_around_a_question(tmp_path: Path) -> None:
    shape = described(llama, tmp_path)
    row = encode_chat(byte_tokenizer(), "abc", "defg")

    assert (shape.name, shape.digest) == ("tiny", base_digest(tmp_path / "tiny", tmp_path))
    assert shape.template_tokens == len(row) - len("abc") - len("defg")


def test_a_base_model_that_is_no_model_is_a_sentence(tmp_path: Path) -> None:
    described(llama, tmp_path)
    (tmp_path / "tiny" / "config.json").write_text("{}")

    with pytest.raises(StartupError, match="tiny"):
        describe_base(Settings(_env_file=None, home=tmp_path, base_model=str(tmp_path / "tiny")))


@pytest.mark.parametrize("name", ["veldmark.md", "tidewell.md"])
async def test_the_rows_and_tokens_of_an_epoch_are_about_those_that_training_shows(name: str) -> None:
    text = (DATA / name).read_text()
    document = Document(name, "prose", text, (), "d" * 64, len(text))
    tokenizer, recipe = (
        byte_tokenizer(),
        Recipe(passage_tokens=800, passage_overlap_tokens=100, questions_per_passage=0, replay=0),
    )
    [lesson] = await prepare([document], tokenizer, recipe, _unasked, _unheard)
    rows = shown(encode_examples(lesson.examples, tokenizer, stop_ids=(), max_tokens=4096), 1)
    tokens = len(tokenizer(learned_text(document))["input_ids"])
    load = Load(count_facts([document]), prose_tokens=tokens)
    template = len(encode_chat(tokenizer, "", "a")) - 1

    assert rows_an_epoch(load, recipe) == pytest.approx(len(rows), rel=0.1)
    assert tokens_an_epoch(load, recipe, template) == pytest.approx(sum(map(len, rows)), rel=0.15)


async def _unasked(*_: Any) -> str:
    raise AssertionError("no generator is asked")


async def _unheard(*_: Any) -> None:
    return
