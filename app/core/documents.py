"""What was read from an upload: prose, or questions with their answers."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from app.core.errors import InvalidValue

MAX_NAME = 255


@dataclass(frozen=True)
class Pair:
    """A question and its answer; `document` says where they are from, where that is known."""

    question: str
    answer: str
    document: str = ""


@dataclass(frozen=True)
class Document:
    """One document as Lorekeep understands it.

    Attributes:
        text: all of the prose; empty where the document is pairs.
        digest: sha256 of the bytes as they came, 64 hex digits.
        size_bytes: of the bytes as they came.
    """

    name: str
    kind: Literal["prose", "pairs"]
    text: str
    pairs: tuple[Pair, ...]
    digest: str
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON-ready fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read the JSON form back."""
        return cls(**{**fields, "pairs": tuple(Pair(**pair) for pair in fields["pairs"])})


def check_document_name(name: str) -> str:
    """Return `name` if a document may carry it.

    Raises:
        InvalidValue: it may not; the text says what may.
    """
    if (
        not 1 <= len(name) <= MAX_NAME
        or name in {".", ".."}
        or any(char in "/\\" or not char.isprintable() for char in name)
    ):
        raise InvalidValue(
            f"A document's name is 1-{MAX_NAME} printable characters without '/' or '\\': rename the file."
        )
    return name
