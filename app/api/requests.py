"""What endpoints take."""

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StringConstraints

from app.core.modes import RequestMode
from app.core.names import TENANT
from app.core.roles import Role
from app.services.compose import ComposeOptions
from app.services.target import Extension


def _inlined(schema: Any) -> Any:
    """Return a schema without references: an operation's own body has nowhere to keep definitions."""
    definitions = schema.pop("$defs", {})

    def resolve(value: Any) -> Any:
        if isinstance(value, dict) and "$ref" in value:
            return resolve(definitions[value["$ref"].rsplit("/", 1)[-1]])
        if isinstance(value, dict):
            return {name: resolve(one) for name, one in value.items()}
        return [resolve(one) for one in value] if isinstance(value, list) else value

    return resolve(schema)


def _openai_body(needed: str, schema: dict[str, Any], example: object) -> dict[str, Any]:
    memory = _inlined(Extension.model_json_schema())
    properties = {"model": {"type": "string"}, needed: schema, "stream": {"type": "boolean"}, "memory": memory}
    body = {"type": "object", "required": ["model", needed], "properties": properties, "additionalProperties": True}
    content = {"schema": body, "example": {"model": "base", needed: example}}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


CHAT_BODY = _openai_body(
    "messages", {"type": "array", "items": {"type": "object"}}, [{"role": "user", "content": "Who is Ada?"}]
)
TEXT_BODY = _openai_body("prompt", {"type": "string"}, "Ada is")


class Body(BaseModel):
    """A JSON body of ours: an unknown field is an error, not a silent no-op."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000_000)]
Short = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Metadata = Annotated[dict[Short, Annotated[str, StringConstraints(max_length=512)]], Field(max_length=16)]


RecipeFields = dict[Short, StrictBool | StrictInt | Annotated[float, Field(allow_inf_nan=False, strict=True)] | Short]


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class TrainingBody(Body):
    """How to train, as an upload of more documents may ask for; what is left open is as before."""

    recipe: RecipeFields | None = None
    target_recall: Share | None = None
    split: bool | None = None


class OptionsBody(TrainingBody):
    """What an upload may ask for beside its documents."""

    metadata: Metadata = Field(default_factory=dict)
    allow_duplicate: bool = False
    pinned: bool = False
    languages: list[Short] = Field(default_factory=list, max_length=100)


class TextDocument(Body):
    """A document sent as text; the ending of its name says how it is read."""

    name: Short
    text: Text


class RememberBody(Body):
    """A new memory in JSON."""

    name: Short | None = None
    documents: list[TextDocument] = Field(min_length=1, max_length=1000)
    options: OptionsBody = Field(default_factory=OptionsBody)


class DocumentsBody(Body):
    """More documents in JSON."""

    documents: list[TextDocument] = Field(min_length=1, max_length=1000)
    options: TrainingBody = Field(default_factory=TrainingBody)


class PlanBody(TrainingBody):
    """What to plan: documents, or how many tokens and facts they hold."""

    documents: list[TextDocument] | None = Field(None, min_length=1, max_length=1000)
    tokens: int | None = Field(None, ge=1, le=10**12)
    facts: int | None = Field(None, ge=1, le=10**12)


class PatchBody(Body):
    """Changes of a memory; `version` rolls back (or forward) to one that is ready.

    A `generalist` is no candidate of selection, and answers where the candidates do not know.
    """

    name: Short | None = None
    metadata: Metadata | None = None
    pinned: bool | None = None
    generalist: bool | None = None
    version: int | None = Field(None, ge=1, le=10**9)


class RetryBody(TrainingBody):
    """What to change of the training at the next try; a recipe's `name` starts from that preset."""


class QueryBody(Body):
    """A question for people with no OpenAI client."""

    question: Text
    memories: Short | list[Short]
    mode: RequestMode = "adapter"
    max_tokens: int = Field(256, ge=1, le=100_000)
    language: str | None = None
    compose: ComposeOptions | None = None
    explain: bool = False


class CheckBody(Body):
    """A text to judge; `strict` counts ASCII letters, which are ignored otherwise; `prompt` is what was asked."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": "오늘은 weather 가 좋다.", "language": "ko"}})

    text: Annotated[str, StringConstraints(max_length=100_000)]
    language: Short
    strict: bool = False
    prompt: Annotated[str, StringConstraints(max_length=100_000)] = ""


Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class GuardBody(Body):
    """A new language guard; `prompts` take the place of those that are shipped."""

    model_config = ConfigDict(json_schema_extra={"example": {"language": "ko", "recipe": {"strict": True}}})

    language: Short
    name: Short | None = None
    memory: Short | None = None
    prompts: list[Prompt] | None = Field(None, min_length=1, max_length=10_000)
    recipe: RecipeFields = Field(default_factory=dict)


class KeyBody(Body):
    """A new key; `expires` is a time with its zone, as RFC 3339 or in seconds since the epoch; null for never."""

    model_config = ConfigDict(json_schema_extra={"example": {"tenant": "acme", "role": "writer", "expires": None}})

    tenant: Annotated[str, StringConstraints(pattern=f"^{TENANT}$")]
    role: Role = Role.WRITER
    expires: AwareDatetime | None = None


def _upload(body: type[Body], options: type[Body], *, named: bool) -> dict[str, Any]:
    fields = {"file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}}
    name = {"name": {"type": "string", "maxLength": 128}} if named else {}
    more = {"options": {"type": "string", "description": f"JSON: {', '.join(options.model_fields)}"}}
    properties = {**fields, **name, **more}
    form = {"type": "object", "required": ["file"], "properties": properties, "additionalProperties": False}
    example = {"documents": [{"name": "facts.md", "text": "Ada was born in 1815."}]}
    content = {
        "multipart/form-data": {"schema": form},
        "application/json": {"schema": _inlined(body.model_json_schema()), "example": example},
    }
    return {"requestBody": {"required": True, "content": content}}


NEW_MEMORY = _upload(RememberBody, OptionsBody, named=True)
MORE_DOCUMENTS = _upload(DocumentsBody, TrainingBody, named=False)
PLAN = _upload(PlanBody, TrainingBody, named=False)
EXPORTED = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "The tar that an export gave."},
                        "name": {"type": "string", "maxLength": 128},
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}
