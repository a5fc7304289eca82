import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from app.core.names import AdapterName
from app.errors import AdapterRejected
from tests.engine.fakes import BASE_DIGEST, change_json, write_adapter
from workers.engine.checks import CONFIG, MANIFEST, WEIGHTS, Limits, check_adapter

LIMITS = Limits(max_rank=8, max_model_len=64, base_digest=BASE_DIGEST)
CANARY = {"prompt_ids": [1, 2], "answer_ids": [3], "adapter_logprobs": [-1.0], "base_logprobs": [-2.0]}


@pytest.fixture
def name(tmp_path: Path) -> AdapterName:
    return write_adapter(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, name: AdapterName) -> Path:
    return tmp_path / name.folder


def test_an_honest_adapter_passes(name: AdapterName, folder: Path) -> None:
    checked = check_adapter(name, folder, LIMITS)

    assert checked.canary.prompt_ids == (1, 2)


def test_what_peft_writes_by_default_passes(name: AdapterName, folder: Path) -> None:
    empty: dict[str, object] = {
        "auto_mapping": None,
        "rank_pattern": {},
        "loftq_config": {},
        "lora_bias": False,
        "eva_config": None,
    }
    change_json(
        folder / CONFIG,
        megatron_core="megatron.core",
        qalora_group_size=16,
        layers_to_transform=[1],
        peft_version="0.21",
        **empty,
    )

    assert check_adapter(name, folder, LIMITS)


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "IA3"},
        {"r": 0},
        {"r": -4},
        {"r": 9},
        {"r": True},
        {"r": "4"},
        {"lora_alpha": 0},
        {"lora_alpha": 1e9},
        {"target_modules": "all-linear"},
        {"target_modules": []},
        {"bias": "all"},
        {"use_dora": True},
        {"use_rslora": True},
        {"lora_bias": True},
        {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "pissa"},
        {"rank_pattern": {"up_proj": 512}},
        {"alora_invocation_tokens": [1]},
        {"layer_replication": [[0, 1]]},
        {"a_feature_of_tomorrow": True},
        {"auto_mapping": {"base_model_class": "x"}},
        {"task_type": "SEQ_CLS"},
    ],
)
def test_a_config_outside_the_schema_is_rejected(name: AdapterName, folder: Path, changes: dict[str, object]) -> None:
    change_json(folder / CONFIG, **changes)

    with pytest.raises(AdapterRejected):
        check_adapter(name, folder, LIMITS)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "default.mem_other"},
        {"tenant": "another"},
        {"digest": "0" * 64},
        {"base": {"digest": "c" * 64}},
        {"base": None},
        {"canary": {}},
        {"canary": CANARY | {"answer_ids": [], "adapter_logprobs": [], "base_logprobs": []}},
        {"canary": CANARY | {"prompt_ids": list(range(64))}},
        {"canary": CANARY | {"prompt_ids": [-1]}},
        {"canary": CANARY | {"adapter_logprobs": [-1.0, -1.0]}},
    ],
)
def test_a_manifest_that_does_not_fit_is_rejected(name: AdapterName, folder: Path, changes: dict[str, object]) -> None:
    change_json(folder / MANIFEST, **changes)

    with pytest.raises(AdapterRejected):
        check_adapter(name, folder, LIMITS)


def test_other_weights_under_this_name_are_rejected(name: AdapterName, folder: Path, tmp_path: Path) -> None:
    other = write_adapter(tmp_path, 2)
    (folder / WEIGHTS).write_bytes((tmp_path / other.folder / WEIGHTS).read_bytes())

    with pytest.raises(AdapterRejected, match="weights"):
        check_adapter(name, folder, LIMITS)


@pytest.mark.parametrize("extra", ["adapter_model.bin", "adapter_model.pt", "code.py", "noend"])
def test_a_file_that_no_adapter_has_is_rejected(name: AdapterName, folder: Path, extra: str) -> None:
    (folder / extra).write_bytes(b"")

    with pytest.raises(AdapterRejected, match="holds"):
        check_adapter(name, folder, LIMITS)


def test_a_link_out_of_the_folder_is_rejected(name: AdapterName, folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).rename(tmp_path / "elsewhere.safetensors")
    (folder / WEIGHTS).symlink_to(tmp_path / "elsewhere.safetensors")

    with pytest.raises(AdapterRejected, match="holds"):
        check_adapter(name, folder, LIMITS)


@pytest.mark.parametrize("missing", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(name: AdapterName, folder: Path, missing: str) -> None:
    (folder / missing).unlink()

    with pytest.raises(AdapterRejected, match=missing):
        check_adapter(name, folder, LIMITS)


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "[" * 100_000])
def test_a_config_that_is_not_an_object_is_rejected(name: AdapterName, folder: Path, text: str) -> None:
    (folder / CONFIG).write_text(text)

    with pytest.raises(AdapterRejected):
        check_adapter(name, folder, LIMITS)


def test_an_oversized_config_is_rejected_unread(name: AdapterName, folder: Path) -> None:
    (folder / CONFIG).write_text(json.dumps({"pad": "x" * 2**17}))

    with pytest.raises(AdapterRejected, match="bytes"):
        check_adapter(name, folder, LIMITS)


@pytest.mark.parametrize(
    ("tensor", "shape", "dtype"),
    [
        ("base_model.model.lm_head.weight", (4, 8), np.float32),
        ("base_model.model.up_proj.lora_A.weight", (5, 8), np.float32),
        ("base_model.model.up_proj.lora_B.weight", (8, 5), np.float32),
        ("base_model.model.up_proj.lora_A.weight", (4,), np.float32),
        ("base_model.model.up_proj.lora_A.weight", (4, 8), np.int64),
        ("base_model.model.up_proj.lora_magnitude_vector", (4, 8), np.float32),
    ],
)
def test_a_tensor_that_is_no_lora_factor_is_rejected(
    name: AdapterName, folder: Path, tensor: str, shape: tuple[int, ...], dtype: type
) -> None:
    save_file({tensor: np.zeros(shape, dtype=dtype)}, folder / WEIGHTS)

    with pytest.raises(AdapterRejected, match="not a LoRA factor"):
        check_adapter(name, folder, LIMITS)


def test_a_file_that_is_not_safetensors_is_rejected(name: AdapterName, folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\x80\x04pickle")

    with pytest.raises(AdapterRejected, match="cannot be read"):
        check_adapter(name, folder, LIMITS)
