"""The shapes of an export's files: what is used of a stranger's JSON, and nothing else."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.core.documents import MAX_NAME
from app.services.documents.read import MAX_CHARACTERS

MAX_PARTS = 999

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(max_length=MAX_CHARACTERS)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class Model(BaseModel):
    """Types are as JSON has them, other fields are left aside."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Form(Model):
    """What says whether the rest can be read."""

    format: int


class Ref(Model):
    """One document of a manifest."""

    name: Annotated[str, StringConstraints(max_length=MAX_NAME)]
    digest: Digest
    kind: Literal["prose", "pairs"]
    size_bytes: int = Field(ge=1)


class Base(Model):
    """The base model that weights belong to."""

    digest: Digest
    name: Annotated[str, StringConstraints(max_length=255)]


class Scored(Model):
    """A canary; the engine that loads the weights says whether it is theirs."""

    prompt_ids: list[TokenId]
    answer_ids: list[TokenId]
    adapter_logprobs: list[float]
    base_logprobs: list[float]


class PartOf(Model):
    """Which one of how many parts a folder is."""

    index: int = Field(ge=1)
    of: int = Field(ge=1, le=MAX_PARTS)


class Manifest(Model):
    """What is used of a manifest; names in it are the sender's and are not."""

    digest: Digest
    recipe: dict[str, bool | int | float | Annotated[str, StringConstraints(max_length=512)]]
    documents: list[Ref] = Field(min_length=1, max_length=10_000)
    base: Base
    canary: Scored
    trained_tokens: int = Field(0, ge=0, lt=2**53)
    part: PartOf | None = None

    @property
    def shared(self) -> tuple[object, ...]:
        """What the parts of one version have in common."""
        return self.recipe, self.documents, self.base


class PairShape(Model):
    """A question with its answer, of a document."""

    question: Text
    answer: Text
    document: Text = ""


class Content(Ref):
    """What was read from a document."""

    text: Text
    pairs: list[PairShape]


class Question(Model):
    """A line of `questions.jsonl`."""

    question: Text
    answer: Text
    kind: Literal["held_out", "recall"]
    sentence: Text = ""


class Passage(Model):
    """A line of `passages.jsonl`."""

    document: Text
    index: int
    start: int
    end: int
    text: Text
    answer_start: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _answers(self) -> Self:
        if self.answer_start >= len(self.text) > 0:
            raise ValueError("answer_start must lie within the text")
        return self


class Tensor(Model):
    """One tensor of a safetensors header."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]
