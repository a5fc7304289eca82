"""What the set of adapters is given to bring in, and where it finds it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.core.names import AdapterName
from workers.engine.vllm_engine import Adapter


@dataclass(frozen=True)
class Candidate:
    """An adapter that may be brought in.

    Attributes:
        prove: is given the loaded adapter that nobody can ask for yet, and raises unless it may serve.
    """

    folder: Path
    prove: Callable[[Adapter], Awaitable[None]]


class Shelf(Protocol):
    """Where adapters' folders are."""

    def local_folder(self, adapter: AdapterName) -> Path:
        """Return an adapter's folder; NotFound where there is none."""
