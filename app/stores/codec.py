"""How values become fields of a Redis hash: each one as JSON, so that Lua and Python read the same text."""

import json
from collections.abc import Mapping
from typing import Any


def encode(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return each value as JSON text."""
    return {name: json.dumps(value, ensure_ascii=False) for name, value in fields.items()}


def decode(row: Mapping[str, str]) -> dict[str, Any]:
    """Return each field's value."""
    return {name: json.loads(text) for name, text in row.items()}


def flat(fields: Mapping[str, Any]) -> str:
    """Return the fields as one JSON list of names and JSON texts, as the scripts' HSET and XADD take them."""
    return json.dumps([part for pair in encode(fields).items() for part in pair])
