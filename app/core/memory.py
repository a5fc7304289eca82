"""A memory and its versions, as values."""

from dataclasses import dataclass, field
from typing import Any, Self

from app.core.lifecycle import State


@dataclass(frozen=True)
class DocumentRef:
    """One document of a version; its bytes and text are in the artifact store under `digest`.

    Attributes:
        digest: sha256 of the bytes as they came, 64 hex digits.
        kind: "prose" or "pairs".
    """

    name: str
    digest: str
    kind: str
    size_bytes: int


@dataclass(frozen=True)
class Version:
    """One training of a memory: immutable once `ready`.

    Attributes:
        adapter: what engines call it, of several parts the first; empty until its weights exist.
        digest: sha256 of that adapter's weights; empty until they exist.
        size_bytes: of all its weights.
        parts: what engines call the parts of a version that is more than one adapter holds; else empty.
        fence: how often the job was claimed; a trainer with an older one cannot write.
        lease_until: when the claim ends, in seconds since the epoch by the registry's clock.
        error: `{"code", "message"}` of a version that failed or was rejected.
        failed_seeds: how many of the seeds that its recipe allows have failed the gate.
    """

    memory_id: str
    tenant: str
    number: int
    state: State
    recipe: dict[str, Any]
    documents: tuple[DocumentRef, ...]
    created_at: float
    updated_at: float
    fence: int = 0
    lease_until: float = 0.0
    attempt: int = 0
    adapter: str = ""
    digest: str = ""
    size_bytes: int = 0
    plan: dict[str, Any] | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None
    parts: tuple[str, ...] = ()
    failed_seeds: int = 0

    @property
    def adapters(self) -> tuple[str, ...]:
        """All that engines may hold of it: the parts in their order, or the one adapter, or nothing yet."""
        return self.parts or tuple(filter(None, [self.adapter]))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read the JSON form back."""
        refs = tuple(DocumentRef(**ref) for ref in fields["documents"])
        own = {"state": State(fields["state"]), "documents": refs, "parts": tuple(fields.get("parts", ()))}
        return cls(**{**fields, **own})


@dataclass(frozen=True)
class Memory:
    """What a user owns: a named set of documents, with versions.

    Attributes:
        latest: number of the newest version.
        current: number of the version that serves; 0 while none does.
        content: digest of the documents and their order, to find a second upload of the same.
        generalist: it answers where selection finds no memory that knows.
    """

    id: str
    tenant: str
    name: str
    content: str
    created_at: float
    updated_at: float
    latest: int = 1
    current: int = 0
    pinned: bool = False
    generalist: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
