"""Every error Lorekeep raises on purpose; one handler in `app.api.failures` renders them.

    ServiceError 500 internal
    ├── InvalidRequest 400 invalid_request
    │   ├── InvalidName 400 invalid_name
    │   ├── UnreadableDocument 400 unreadable_document
    │   ├── EmptyDocument 400 empty_document
    │   ├── UnreadableExport 400 unreadable_export
    │   └── UnsupportedParameter 400 unsupported_parameter
    ├── Unauthenticated 401 invalid_api_key
    ├── Forbidden 403 forbidden
    ├── NotFound 404 not_found
    │   ├── MemoryNotFound 404 memory_not_found
    │   ├── VersionNotFound 404 version_not_found
    │   ├── GuardNotFound 404 guard_not_found
    │   └── ModelNotFound 404 model_not_found
    ├── Conflict 409 conflict
    │   ├── NameTaken 409 name_taken
    │   ├── DuplicateContent 409 duplicate_content
    │   ├── IdempotencyMismatch 409 idempotency_mismatch
    │   ├── StateConflict 409 state_conflict
    │   ├── LeaseLost 409 lease_lost
    │   ├── SlotsFull 409 slots_full
    │   ├── AdapterBusy 409 adapter_busy
    │   ├── MemoryNotReady 409 memory_not_ready
    │   ├── MemoryFailed 409 memory_failed
    │   ├── OtherBaseModel 409 other_base_model
    │   └── NoPassages 409 no_passages
    ├── TooLarge 413 too_large
    ├── UnsupportedDocument 415 unsupported_document
    ├── TooMuch 422 too_much
    ├── NothingToLearn 422 nothing_to_learn
    ├── CompositeRejected 422 composite_rejected
    ├── Busy 429 engines_busy
    ├── AdapterRejected 502 adapter_rejected
    ├── EngineFailed 502 engine_failed
    │   └── EngineTimeout 504 engine_timeout
    ├── DivergedError 500 training_diverged
    ├── DocumentMissing 500 document_missing
    ├── QuestionsOverlap 500 questions_overlap
    └── Unavailable 503 unavailable
        ├── NoEngine 503 no_engine
        ├── NoTrainer 503 no_trainer
        ├── GeneratorFailed 503 generator_failed
        ├── EmbeddingsFailed 503 embeddings_failed
        └── RegistryUnavailable 503 registry_unavailable

`StartupError` stands apart: the process cannot start; its text is the one sentence a user sees.
"""

from typing import ClassVar

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


class ServiceError(Exception):
    """Base class. Subclasses set `status` and `code`; clients match on `code`.

    Attributes:
        detail: one sentence for the user that says what to do.
        param: the request field at fault, where there is one.
        retry_after_s: seconds after which the same request may succeed.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    retry_after_s: ClassVar[int | None] = None

    def __init__(self, detail: str = "", param: str | None = None) -> None:
        super().__init__(detail, param)
        self.detail = detail
        self.param = param

    def __str__(self) -> str:
        return self.detail

    @property
    def type(self) -> str:
        """What OpenAI clients call errors of this status."""
        return _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")


class InvalidRequest(ServiceError):
    status, code = 400, "invalid_request"


class InvalidName(InvalidRequest):
    code = "invalid_name"


class UnreadableDocument(InvalidRequest):
    code = "unreadable_document"


class EmptyDocument(InvalidRequest):
    code = "empty_document"


class UnreadableExport(InvalidRequest):
    """A tar that is no export of a memory, or not the whole of one."""

    code = "unreadable_export"


class UnsupportedParameter(InvalidRequest):
    code = "unsupported_parameter"


class Unauthenticated(ServiceError):
    status, code = 401, "invalid_api_key"


class Forbidden(ServiceError):
    status, code = 403, "forbidden"


class NotFound(ServiceError):
    status, code = 404, "not_found"


class MemoryNotFound(NotFound):
    code = "memory_not_found"


class GuardNotFound(NotFound):
    code = "guard_not_found"


class VersionNotFound(NotFound):
    code = "version_not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class Conflict(ServiceError):
    status, code = 409, "conflict"


class NameTaken(Conflict):
    code = "name_taken"


class DuplicateContent(Conflict):
    code = "duplicate_content"


class IdempotencyMismatch(Conflict):
    code = "idempotency_mismatch"


class StateConflict(Conflict):
    code = "state_conflict"


class LeaseLost(Conflict):
    code = "lease_lost"


class SlotsFull(Conflict):
    """An engine holds as many adapters as it can, and every one of them is in use or pinned."""

    code = "slots_full"


class AdapterBusy(Conflict):
    """An engine could not unload an adapter because requests for it did not end in time."""

    code = "adapter_busy"


class MemoryNotReady(Conflict):
    code = "memory_not_ready"


class MemoryFailed(Conflict):
    """A guard waits for a memory that will not serve."""

    code = "memory_failed"


class OtherBaseModel(Conflict):
    """Weights that were trained on another base model than the engines serve."""

    code = "other_base_model"


class NoPassages(Conflict):
    """Context was asked for and there is none: never answered without it in silence."""

    code = "no_passages"


class TooLarge(ServiceError):
    status, code = 413, "too_large"


class UnsupportedDocument(ServiceError):
    status, code = 415, "unsupported_document"


class TooMuch(ServiceError):
    """More facts than the base model can be taught; the text has the numbers."""

    status, code = 422, "too_much"


class NothingToLearn(ServiceError):
    """The model does already what it was to be trained to."""

    status, code = 422, "nothing_to_learn"


class CompositeRejected(ServiceError):
    """A composite broke: the engine that built it measured it and will not serve it."""

    status, code = 422, "composite_rejected"


class Busy(ServiceError):
    status, code, retry_after_s = 429, "engines_busy", 2


class AdapterRejected(ServiceError):
    """An engine loaded an adapter and its canary failed, or its files were not fit to load."""

    status, code = 502, "adapter_rejected"


class EngineFailed(ServiceError):
    status, code = 502, "engine_failed"


class EngineTimeout(EngineFailed):
    """An engine took the request and did not answer in time: it is not asked for twice."""

    status, code = 504, "engine_timeout"


class Unavailable(ServiceError):
    status, code, retry_after_s = 503, "unavailable", 5


class NoEngine(Unavailable):
    code = "no_engine"


class NoTrainer(Unavailable):
    code = "no_trainer"


class GeneratorFailed(Unavailable):
    code = "generator_failed"


class EmbeddingsFailed(Unavailable):
    code = "embeddings_failed"


class RegistryUnavailable(Unavailable):
    code = "registry_unavailable"


class DivergedError(ServiceError):
    """The training loss is no longer finite; retrying with the same recipe will not help."""

    code = "training_diverged"


class DocumentMissing(ServiceError):
    """A version's document is no longer in the artifact store: somebody removed it there, or the store lost it."""

    code = "document_missing"


class QuestionsOverlap(ServiceError):
    """A held-out question was trained on too: the scores would tell nothing."""

    code = "questions_overlap"


class StartupError(Exception):
    """The process cannot start; the text is one sentence that says what to do."""
