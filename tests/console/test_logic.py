"""What the page says and asks for, tested where Node is at hand: it needs none to be served."""

import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
HERE = Path(__file__).parent
OLDEST = (20, 19)  # the first that knows a module by its text, with no package.json beside it


def node_version() -> tuple[int, ...]:
    """Return Node's version; nothing where there is none."""
    if NODE is None:
        return ()
    told = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in told.strip().lstrip("v").split(".")[:2])


@pytest.mark.skipif(node_version() < OLDEST, reason="needs Node 20.19 or newer")
def test_the_pages_words_are_right() -> None:
    assert NODE is not None
    files = sorted(str(path) for path in HERE.glob("*.test.mjs"))
    ran = subprocess.run([NODE, "--test", *files], capture_output=True, text=True, check=False, timeout=120)

    assert files
    assert ran.returncode == 0, ran.stdout + ran.stderr
