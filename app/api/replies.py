"""What endpoints return."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.core.memory import DocumentRef, Memory, Version
from app.languages.detector import Kind


class Problem(BaseModel):
    """Why a version failed or was rejected."""

    code: str
    message: str


class LanguageOfMemory(BaseModel):
    """A language guard on top of a memory."""

    id: str
    language: str
    status: str


class MemoryView(BaseModel):
    """A memory. `status` is the newest version's; `version` is the one that serves, if any."""

    id: str
    object: Literal["memory"] = "memory"
    name: str
    status: str
    version: int | None
    latest: int
    progress: dict[str, Any]
    plan: dict[str, Any] | None
    scores: dict[str, Any]
    error: Problem | None
    documents: list[DocumentRef]
    metadata: dict[str, str]
    pinned: bool
    generalist: bool
    languages: list[LanguageOfMemory]
    created_at: float
    updated_at: float

    @classmethod
    def of(
        cls, memory: Memory, latest: Version, current: Version | None, guards: Sequence[tuple[Memory, Version]]
    ) -> "MemoryView":
        """Join a memory with its newest version, the one that serves, and the guards on top of it."""
        return cls(
            id=memory.id,
            name=memory.name,
            status=latest.state,
            version=memory.current or None,
            latest=memory.latest,
            progress=latest.progress,
            plan=latest.plan,
            scores=(current or latest).scores,
            error=Problem(**latest.error) if latest.error else None,
            documents=list(latest.documents),
            metadata=memory.metadata,
            pinned=memory.pinned,
            generalist=memory.generalist,
            languages=[
                LanguageOfMemory(id=guard.id, language=guard.metadata["language"], status=version.state)
                for guard, version in guards
            ],
            created_at=memory.created_at,
            updated_at=max(memory.updated_at, latest.updated_at),
        )


class PartView(BaseModel):
    """One of the adapters that a version is made of."""

    adapter: str
    digest: str
    size_bytes: int


class GuardView(BaseModel):
    """A language guard: `memory` and its version are what it was trained on top of, null for the base model.

    The version is null as well while a guard waits for its memory to serve.
    """

    id: str
    object: Literal["language"] = "language"
    name: str
    language: str
    strict: bool
    memory: str | None
    memory_version: int | None
    status: str
    adapter: str | None
    recipe: dict[str, Any]
    progress: dict[str, Any]
    scores: dict[str, Any]
    error: Problem | None
    created_at: float
    updated_at: float

    @classmethod
    def of(cls, guard: Memory, version: Version) -> "GuardView":
        """Join a guard with its version."""
        return cls(
            id=guard.id,
            name=guard.name,
            language=guard.metadata["language"],
            strict=guard.metadata["strict"] == "true",
            memory=guard.metadata.get("memory"),
            memory_version=int(guard.metadata["version"]) if "version" in guard.metadata else None,
            status=version.state,
            adapter=version.adapter or None,
            recipe=version.recipe,
            progress=version.progress,
            scores=version.scores,
            error=Problem(**version.error) if version.error else None,
            created_at=guard.created_at,
            updated_at=max(guard.updated_at, version.updated_at),
        )


class GuardList(BaseModel):
    """A page of language guards; `next` goes into `after`."""

    object: Literal["list"] = "list"
    data: list[GuardView]
    has_more: bool
    next: str | None


class VersionView(BaseModel):
    """One training of a memory; `adapter` and `digest` are the first part's where it has `parts`."""

    number: int
    object: Literal["memory.version"] = "memory.version"
    status: str
    current: bool
    adapter: str | None
    digest: str | None
    size_bytes: int
    parts: list[PartView]
    recipe: dict[str, Any]
    plan: dict[str, Any] | None
    scores: dict[str, Any]
    progress: dict[str, Any]
    error: Problem | None
    documents: list[DocumentRef]
    created_at: float
    updated_at: float

    @classmethod
    def of(cls, version: Version, current: int, parts: list[PartView]) -> "VersionView":
        """Show a version."""
        return cls(
            number=version.number,
            status=version.state,
            current=version.number == current,
            adapter=version.adapter or None,
            digest=version.digest or None,
            size_bytes=version.size_bytes,
            parts=parts,
            recipe=version.recipe,
            plan=version.plan,
            scores=version.scores,
            progress=version.progress,
            error=Problem(**version.error) if version.error else None,
            documents=list(version.documents),
            created_at=version.created_at,
            updated_at=version.updated_at,
        )


class MemoryList(BaseModel):
    """A page of memories; `next` goes into `after`."""

    object: Literal["list"] = "list"
    data: list[MemoryView]
    has_more: bool
    next: str | None


class VersionList(BaseModel):
    """All versions of a memory, newest first."""

    object: Literal["list"] = "list"
    data: list[VersionView]
    has_more: bool = False
    next: str | None = None


class PlanView(BaseModel):
    """What training would take, and give; the fields are those of `app.core.plan.Plan`."""

    object: Literal["plan"] = "plan"
    rank: int
    alpha: int
    rank_given: bool
    target: str
    partitions: int
    facts: int
    tokens: int
    tokens_estimated: bool
    parameters: int
    adapter_mb: float
    most_tokens: int
    exposures_per_fact: int
    epochs: int
    steps: int
    target_recall: float
    recall: float
    recall_low: float
    recall_high: float
    estimated_s: float | None
    calibrated: bool
    split: bool


class Deleted(BaseModel):
    """A memory, or a language guard, that is being erased; `object` is the same for both."""

    id: str
    object: Literal["memory.deleted"] = "memory.deleted"
    status: Literal["erasing"] = "erasing"


class Receipt(BaseModel):
    """What was erased, and when."""

    model_config = ConfigDict(extra="ignore")

    id: str
    object: Literal["memory.receipt"] = "memory.receipt"
    name: str
    status: Literal["erasing", "erased"]
    deleted_at: float
    erased_at: float | None = None
    documents: int
    versions: int
    adapters: list[str]
    engines: list[str] = Field(default_factory=list)
    files: int = 0
    bytes: int = 0


class QueryReply(BaseModel):
    """An answer, and where it came from."""

    answer: str
    memory: dict[str, Any]
    usage: dict[str, Any] | None


class ModelView(BaseModel):
    """What may stand in `model`."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    name: str | None = None


class ModelList(BaseModel):
    """Every model of a tenant."""

    object: Literal["list"] = "list"
    data: list[ModelView]


class AdapterView(BaseModel):
    """An adapter, and the engines that hold it."""

    id: str
    object: Literal["adapter"] = "adapter"
    memory_id: str
    version: int
    pinned: bool
    engines: list[dict[str, Any]]


class AdapterList(BaseModel):
    """Every adapter of a tenant that an engine holds."""

    object: Literal["list"] = "list"
    data: list[AdapterView]


class EngineList(BaseModel):
    """Every live engine."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]


class ConfusionView(BaseModel):
    """A stretch that is off: `text[start:end]`, in characters of the text as it was sent."""

    model_config = ConfigDict(from_attributes=True)

    start: int
    end: int
    kind: Kind
    text: str


class LineView(BaseModel):
    """A line of several words, and what it is identified as (`score` is of 0 to 1)."""

    model_config = ConfigDict(from_attributes=True)

    start: int
    end: int
    language: str
    score: float


class CheckView(BaseModel):
    """Where a text leaves its language; `target_share` is of its letters, null where it has none."""

    model_config = ConfigDict(from_attributes=True)

    object: Literal["language.check"] = "language.check"
    language: str
    strict: bool
    clean: bool
    confusions: list[ConfusionView]
    target_share: float | None
    lines: list[LineView]


class Warm(BaseModel):
    """Where an adapter is ready, and what it took."""

    id: str
    engine: str
    cold: bool
    load_ms: float


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether questions can be answered; `missing` says what is not there."""

    status: Literal["ready", "not ready"]
    missing: list[str]


class OpenAiReply(BaseModel):
    """OpenAI's reply, with the `memory` object."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: str
    model: str
    choices: list[dict[str, Any]]
    memory: dict[str, Any]


class Done(BaseModel):
    """What was asked for is done."""

    id: str
    done: Literal[True] = True
