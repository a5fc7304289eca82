"""What a conversation asks about: the user's last message, with what it refers to."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.core.grounding import PRONOUNS, content_words, normalise

MOST = 8000  # characters of a message or prompt that count: the last ones, for a question follows its material
_BACK = 3  # turns at most
_FEW = 2  # words of meaning: "And in winter?" says little by itself
_REFERRING = PRONOUNS | frozenset(
    """
    him hers those one there then ihn ihm ihnen sein seine dessen deren dort ils elles lui leur ce cela ça él ella
    ellos ellas esto eso suyo lei loro questo quello ele ela eles isso он она оно они его ее её их это этот там
    onu bunun
    """.split()  # noqa: SIM905 - a list of quoted words is harder to read
)
_SPACELESS_REFERRING = (
    "それ",
    "これ",
    "あれ",
    "その",
    "彼",
    "它",
    "他",
    "她",
    "这",
    "那",
    "這",
    "그것",
    "이것",
    "그는",
    "그녀",
    "거기",
)
_OPENERS = ("and ", "what about ", "how about ", "also ", "und ", "et ", "y ", "e ", "а ", "и ", "ve ")


def asked_about(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text that selection and retrieval go by; empty where no user has said anything.

    Args:
        messages: of a chat, in OpenAI's form; what is no text counts as nothing.
    """
    said = [text[-MOST:] for one in messages if one.get("role") == "user" and (text := text_of(one.get("content")))]
    asked: list[str] = []
    for text in reversed(said[-_BACK - 1 :]):
        asked.insert(0, text)
        if not refers_back(text):
            break
    return "\n".join(asked)


def text_of(content: object) -> str:
    """Return the text of a message, whether it is one or comes in parts."""
    if isinstance(content, str):
        return content.strip()
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str)).strip()


def refers_back(text: str) -> bool:
    """Say whether a message means something that was said before: by a pronoun, an opening, or saying little."""
    words = normalise(text)
    if len(content_words(text)) <= _FEW or f"{words} ".startswith(_OPENERS):
        return True
    if any(pronoun in words for pronoun in _SPACELESS_REFERRING):
        return True
    names = [word for word in text.split()[1:] if word[0].isupper() and word not in ("I", "I'm", "I'd")]
    return not names and not _REFERRING.isdisjoint(words.split())
