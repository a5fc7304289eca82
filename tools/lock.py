"""Print what the extras need, as exact pins, read off the environment this runs in.

    .venv/bin/python tools/lock.py cpu embedded languages dev > constraints-cpu.txt

pip cannot override a dependency, and some of vLLM's must not come: `LEFT_OUT` says which and why. `make setup`
therefore installs from the list with `--no-deps`.
"""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LEFT_OUT = {
    "torchvision": "PyPI's is built for CUDA and breaks transformers' imports beside the CPU torch",
    "torchaudio": "the same",
    "torchcodec": "the same",
    "triton": "200 MB for GPUs; vLLM's CPU backend runs without it",
}
PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def closure(extras: list[str]) -> dict[str, str]:
    """Return name -> version of everything the project with these extras needs."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    waiting = [Requirement(text) for text in project["dependencies"]]
    for extra in [*extras, "worker"]:
        waiting += [Requirement(text) for text in project["optional-dependencies"][extra]]
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ["", *sorted(requirement.extras)]:
            if name in LEFT_OUT or name == "lorekeep" or (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                installed = distribution(name)
            except PackageNotFoundError:
                sys.exit(f"{name} is not installed: install the extras first, then lock.")
            found[name] = installed.version.partition("+")[0]  # a local version, such as +cpu, is the index's affair
            waiting += [
                needed
                for needed in map(Requirement, installed.requires or ())
                if needed.marker is None or needed.marker.evaluate({"extra": extra})
            ]
    return found


if __name__ == "__main__":
    lines = [f"{name}=={version}" for name, version in sorted(closure(sys.argv[1:]).items())]
    sys.stdout.write("\n".join(["# Made by tools/lock.py; do not edit.", *lines, ""]))
