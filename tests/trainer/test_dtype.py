"""Which number format weights have, and that everybody who loads them agrees on it."""

from pathlib import Path

import pytest
import torch

from app.settings import Settings
from tests.trainer.tiny import byte_tokenizer, llama
from workers.dtype import pick_dtype
from workers.trainer.describe import describe_base
from workers.trainer.model import load_base


@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2"])
def test_a_cpu_without_products_of_bfloat16_gets_float32(capability: str) -> None:
    assert pick_dtype("auto", on_cuda=False, capability=capability) == "float32"


def test_other_cpus_and_cards_get_bfloat16() -> None:
    assert pick_dtype("auto", on_cuda=False, capability="AVX512") == "bfloat16"
    assert pick_dtype("auto", on_cuda=True, capability="AVX2") == "bfloat16"


def test_a_format_that_was_set_is_taken() -> None:
    assert pick_dtype("float16", on_cuda=False, capability="AVX2") == "float16"


def test_a_plan_counts_an_adapters_bytes_in_the_format_that_is_trained(tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path / "tiny")
    byte_tokenizer().save_pretrained(tmp_path / "tiny")
    settings = Settings(_env_file=None, home=tmp_path, base_model=str(tmp_path / "tiny"), device="cpu")
    trained: torch.dtype = load_base(settings.model, settings.device, settings.dtype).dtype

    assert describe_base(settings).weight_bytes == trained.itemsize
