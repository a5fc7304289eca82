"""Markdown without its addresses: what a link or a picture shows is text, where it leads to is no fact."""

import re

from app.services.documents.text import decode

_CODE = (
    r"^[ \t]*(?P<fence>`{3,}(?=[^`\n]*\n)|~{3,}+)[\s\S]*?(?:^[ \t]*(?P=fence)|\Z)"
    r"|(?<![\\`])(?P<ticks>`++)(?:(?!\n\s*\n)[\s\S])+?(?<!`)(?P=ticks)(?!`)"
)
_TITLE = r"(?:\"(?:[^\"\\]|\\.)*+\"|'(?:[^'\\]|\\.)*+'|\((?:[^()\\]|\\.)*+\))"
_DEFINITION = re.compile(
    rf"{_CODE}|^ {{0,3}}\[(?!\^)(?P<label>[^\[\]\n]+)\]:[ \t]*(?:<[^<>\n]+>|\S*(?:[/#@]|\.[^\W\d])\S*)"
    rf"(?:[ \t]*\n?[ \t]+{_TITLE})?[ \t]*(?:\n|\Z)",
    re.MULTILINE,
)
_PLAIN = r"(?:[^\[\]\\]|\\[\s\S])"
_TARGET = rf"\(\s*(?:<[^<>\n]*>|(?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*+\))*+)(?:\s+{_TITLE})?\s*\)"
_LINK = re.compile(
    rf"{_CODE}|(?<!\\)!?\[(?P<shown>(?:{_PLAIN}|\[{_PLAIN}*+\])*+)\](?P<target>{_TARGET}|\[(?P<label>[^\[\]]*)\])"
    rf"|(?<!\\)!?\[(?P<both>{_PLAIN}++)\]"
    r"|(?<!\\)(?P<broken>\\)(?=\n)"
    r"|<(?P<address>[a-zA-Z][\w+.-]+:[^\s<>]+|[^\s<>@]+@[^\s<>@]+)>",
    re.MULTILINE,
)


def read_markdown(name: str, data: bytes) -> str:
    """Return a markdown file's text, without the addresses behind its links and pictures; code stays as it is.

    Raises:
        UnreadableDocument: it is no text.
    """
    labels: set[str] = set()

    def defined(found: re.Match[str]) -> str:
        if found["label"] is None:
            return found[0]
        labels.add(_folded(found["label"]))
        return ""

    def shown(found: re.Match[str]) -> str:
        if found["shown"] is not None:
            text = _LINK.sub(shown, found["shown"])  # a picture that is a link
            is_link = found["label"] is None or _folded(found["label"] or found["shown"]) in labels
            return text if is_link else f"[{text}]{found['target']}"
        if found["both"] is not None:
            return found["both"] if _folded(found["both"]) in labels else found[0]
        if found["broken"]:
            return "  "  # the other sign for a line that ends here
        return found["address"] or found[0]

    return _LINK.sub(shown, _DEFINITION.sub(defined, decode(name, data).replace("\r\n", "\n")))


def _folded(label: str) -> str:
    return " ".join(label.casefold().split())
