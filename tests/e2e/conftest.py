"""One real installation for all end-to-end tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.e2e.facts import SMALL
from tests.e2e.memories import LAX, remember, wait_over
from tests.e2e.stack import Stack, running_stack

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def model() -> Path:
    """The default base model that `make setup` prepared, or the one `LOREKEEP_BASE_MODEL` names."""
    model = os.environ.get("LOREKEEP_BASE_MODEL") or Settings(home=REPOSITORY / ".lorekeep").default_model
    assert Path(model).is_dir(), "the base model is missing: run `make setup` first"
    return Path(model)


@pytest.fixture(scope="session")
def stack(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole of Lorekeep, running."""
    with running_stack(tmp_path_factory.mktemp("home"), model) as stack:
        yield stack


@pytest.fixture(scope="session")
def small(stack: Stack) -> dict[str, str]:
    """Two small memories, by name; the default recipe takes more than twice as long, and test_kills.py has it."""
    with stack.http() as http:
        ids = {name: remember(http, name, pairs, LAX) for name, pairs in SMALL.items()}
        for name, memory_id in ids.items():
            memory = wait_over(http, memory_id)
            assert memory["status"] == "ready", (name, memory["error"])
    return ids
