"""Files under the trainer's home that are made once: written whole or not at all."""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch


def kept(path: Path) -> Any:
    """Return what `keep` wrote there; None where it has not."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def keep(path: Path, value: Any) -> None:
    """Write a JSON-ready value; of several at once, one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
    Path(file.name).replace(path)


def keep_tensors(path: Path, value: dict[str, Any]) -> None:
    """Write what `torch.load` reads with `weights_only`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        torch.save(value, file)
    Path(file.name).replace(path)
