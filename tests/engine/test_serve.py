import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.errors import StartupError
from app.settings import Settings
from workers.base_model import base_digest, find_base
from workers.dtype import pick_dtype
from workers.engine.serve import build_command, build_environment, check_settings, pick_device

BASE = Path("/models/base")


def settings(tmp_path: Path, **fields: Any) -> Settings:
    return Settings(home=tmp_path, **{"engine_port": 8199, **fields})


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_a_cpu_engine_has_one_slot_more_than_it_holds_adapters(tmp_path: Path) -> None:
    """Its kernels give requests for the base model the last slot's weights, so that one must stay empty."""
    command = build_command(settings(tmp_path, max_loras=2, max_cpu_loras=9), BASE, "cpu", None)

    assert (option(command, "--max-loras"), option(command, "--max-cpu-loras")) == ("10", "10")
    assert "--gpu-memory-utilization" not in command


def test_the_command_follows_the_settings(tmp_path: Path) -> None:
    chosen = settings(tmp_path, max_loras=2, max_cpu_loras=9, max_lora_rank=64, max_model_len=512, dtype="float16")
    command = build_command(chosen, BASE, "cuda", None)
    pairs = ("--max-loras", "--max-cpu-loras", "--max-lora-rank", "--max-model-len", "--dtype", "--port", "--model")

    assert [option(command, name) for name in pairs] == ["2", "9", "64", "512", "float16", "8199", str(BASE)]
    assert option(command, "--served-model-name") == "base"
    assert option(command, "--middleware") == "workers.engine.guard.Guard"
    assert "--enable-lora" in command
    assert "--chat-template" not in command


def test_a_template_is_given_only_where_the_tokenizer_has_none(tmp_path: Path) -> None:
    assert option(build_command(settings(tmp_path), BASE, "cpu", Path("t.jinja")), "--chat-template") == "t.jinja"


def test_a_gpu_engine_is_told_its_share_of_memory(tmp_path: Path) -> None:
    command = build_command(settings(tmp_path, gpu_memory_utilization=0.5), BASE, "cuda", None)

    assert option(command, "--gpu-memory-utilization") == "0.5"


def test_further_arguments_come_last(tmp_path: Path) -> None:
    command = build_command(settings(tmp_path, engine_args="--quantization 'a b'"), BASE, "cpu", None)

    assert command[-2:] == ["--quantization", "a b"]


@pytest.mark.parametrize("args", ["--api-server-count 2", "--middleware x", "--api_server_count=2", "--port=1"])
def test_arguments_that_get_around_the_guard_are_refused(tmp_path: Path, args: str) -> None:
    with pytest.raises(StartupError, match="LOREKEEP_ENGINE_ARGS"):
        check_settings(settings(tmp_path, engine_args=args))


def test_fewer_slots_in_memory_than_in_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="LOREKEEP_MAX_CPU_LORAS"):
        check_settings(settings(tmp_path, max_loras=5, max_cpu_loras=4))


def test_a_taken_port_is_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StartupError, match="LOREKEEP_ENGINE_PORT"):
        check_settings(settings(tmp_path, engine_port=taken.getsockname()[1]))


def test_the_environment_opens_no_door_and_stays_offline(tmp_path: Path) -> None:
    inherited = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_SERVER_DEV_MODE": "1", "HOME": "/root"}
    env = build_environment(settings(tmp_path, kv_cache_gib=3, cpu_threads_bind="0-1"), BASE, "cpu", inherited)

    assert not env.keys() & {"VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_SERVER_DEV_MODE"}
    assert (env["HF_HUB_OFFLINE"], env["HOME"]) == ("1", "/root")
    assert (env["LOREKEEP_DEVICE"], env["LOREKEEP_BASE_MODEL"]) == ("cpu", str(BASE))
    assert (env["VLLM_CPU_KVCACHE_SPACE"], env["VLLM_CPU_OMP_THREADS_BIND"]) == ("3", "0-1")


def test_a_gpu_engine_gets_no_cpu_settings(tmp_path: Path) -> None:
    assert "VLLM_CPU_KVCACHE_SPACE" not in build_environment(settings(tmp_path), BASE, "cuda", {})


def test_on_cpus_prefixes_are_used_again_in_blocks_shorter_than_a_prompt(tmp_path: Path) -> None:
    own = settings(tmp_path, engine_args="--block-size 64")
    sizes = [
        [size for name, size in pairwise(build_command(chosen, BASE, device, None)) if name == "--block-size"]
        for chosen, device in ((settings(tmp_path), "cpu"), (own, "cpu"), (settings(tmp_path), "cuda"))
    ]

    assert sizes == [["32"], ["32", "64"], []]  # the last one counts


def test_an_engine_runs_in_the_number_format_that_this_machine_multiplies_fastest(tmp_path: Path) -> None:
    fastest = pick_dtype("auto", on_cuda=False)

    assert option(build_command(settings(tmp_path), BASE, "cpu", None), "--dtype") == fastest
    assert option(build_command(settings(tmp_path), BASE, "cuda", None), "--dtype") == "bfloat16"


def test_a_device_that_was_set_is_taken(tmp_path: Path) -> None:
    assert (pick_device("cpu"), pick_device("cuda")) == ("cpu", "cuda")


@pytest.mark.parametrize("model", ["/nowhere/model", "./nowhere", "nowhere", "a/b/c"])
def test_a_base_model_that_is_not_there_is_a_sentence(model: str) -> None:
    with pytest.raises(StartupError, match="LOREKEEP_BASE_MODEL"):
        find_base(model)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")

    with pytest.raises(StartupError, match="safetensors"):
        find_base(str(tmp_path))


def test_the_digest_follows_the_weights_and_the_config_but_not_the_place(tmp_path: Path) -> None:
    digests = []
    for name, config, weights in [("a", "{}", b"1"), ("b", "{}", b"1"), ("c", "{}", b"2"), ("d", "[]", b"1")]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(config)
        (folder / "model.safetensors").write_bytes(weights)
        digests.append(base_digest(folder, tmp_path))
        assert base_digest(folder, tmp_path) == digests[-1]

    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
