"""Values for tests."""

import dataclasses
import time
from typing import Any

from ulid import ULID

from app.core.lifecycle import State
from app.core.memory import DocumentRef, Memory, Version
from app.core.recipe import Recipe


def memory_id() -> str:
    """Return an id as the server mints them."""
    return f"mem_{str(ULID()).lower()}"


def a_memory(**fields: Any) -> Memory:
    """Return a memory that no test has seen."""
    memory = Memory(
        id=(new := memory_id()),
        tenant="acme",
        name=f"handbook {new[-6:]}",
        content=f"content of {new}",
        created_at=time.time(),
        updated_at=time.time(),
    )
    return dataclasses.replace(memory, **fields)


def a_version(memory: Memory, **fields: Any) -> Version:
    """Return the version that a memory begins with, or a later one."""
    version = Version(
        memory_id=memory.id,
        tenant=memory.tenant,
        number=memory.latest,
        state=State.QUEUED,
        recipe=Recipe().to_dict(),
        documents=(DocumentRef("handbook.md", "d" * 64, "prose", 10),),
        created_at=time.time(),
        updated_at=time.time(),
    )
    return dataclasses.replace(version, **fields)
