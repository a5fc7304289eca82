"""Values for tests."""

import dataclasses
import time
from typing import Any

from ulid import ULID

from app.core.capacity import BaseShape, LinearLayers
from app.core.lifecycle import State
from app.core.memory import DocumentRef, Memory, Version
from app.core.recipe import Recipe

SHAPE = BaseShape(
    digest="b" * 64,
    name="SmolLM2-135M",
    layers=(
        LinearLayers("self_attn.q_proj", "attention", 576, 576, tuple(range(30))),
        LinearLayers("self_attn.k_proj", "attention", 576, 192, tuple(range(30))),
        LinearLayers("self_attn.v_proj", "attention", 576, 192, tuple(range(30))),
        LinearLayers("self_attn.o_proj", "attention", 576, 576, tuple(range(30))),
        LinearLayers("mlp.gate_proj", "mlp", 576, 1536, tuple(range(30))),
        LinearLayers("mlp.up_proj", "mlp", 576, 1536, tuple(range(30))),
        LinearLayers("mlp.down_proj", "mlp", 1536, 576, tuple(range(30))),
    ),
    weight_bytes=2,
    template_tokens=32,
)


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
