"""Where the Language Confusion Benchmark's files lie, if they are here."""

import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
LCB = Path(os.environ.get("LOREKEEP_TEST_DATA", _ROOT.parent / "shared" / "data")) / "lcb"
needs_lcb = pytest.mark.skipif(
    not LCB.is_dir(), reason="the Language Confusion Benchmark is not here: set LOREKEEP_TEST_DATA to its parent folder"
)
PUBLISHED = {
    "outputs_llama-3-instruct.csv": {"monolingual": (45.73, 92.30), "crosslingual": (30.04, 94.17)},
    "outputs_gpt-4-turbo.csv": {"monolingual": (97.89, 99.65), "crosslingual": (89.23, 96.69)},
}
