"""When is an answer right, when does a question rest on a sentence, and where do sentences end."""

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")
_LIST = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]|#{1,6})\s+")
_ABBREVIATION = re.compile(
    r"\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Nr|No|vs|etc|cf|al|Fig|Eq|Inc|Ltd|Co|approx|e\.g|i\.e)\.$"
)
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[^\W_a-z])|(?<=[。！？｡])")
STOP_WORDS = frozenset(
    """
    a an the of in on at to for from by with and or is are was were be been has have had do does did it its this that
    what which who whom whose when where why how many much as into than their his her they he she there
    """.split()  # noqa: SIM905 - a list of quoted words is harder to read
)


def normalise(text: str) -> str:
    """Return a text's letters and digits, in any script, folded and joined by single spaces."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def matches(answer: str, expected: str) -> bool:
    """Say whether an answer is the expected one, or holds it as whole words and not much else (4 times its length)."""
    said, wanted = normalise(answer), normalise(expected)
    if not wanted:
        return False
    return said == wanted or (len(said) <= 4 * len(wanted) + 40 and f" {wanted} " in f" {said} ")


def content_words(text: str) -> frozenset[str]:
    """Return the words that carry meaning."""
    return frozenset(normalise(text).split()) - STOP_WORDS


def is_grounded(question: str, answer: str, sentence: str) -> bool:
    """Say whether a question and its answer rest on a sentence.

    The answer stands in the sentence as words and not in the question; the question is one, of 3 to 40 words, and
    shares a content word with the sentence beside the answer's.
    """
    asked, wanted, told = normalise(question), normalise(answer), normalise(sentence)
    if not wanted or not question.rstrip().endswith(("?", "？")) or not 3 <= len(asked.split()) <= 40:
        return False
    if f" {wanted} " not in f" {told} " or f" {wanted} " in f" {asked} ":
        return False
    return bool(content_words(question) & (content_words(sentence) - content_words(answer)))


def sentences(text: str) -> list[str]:
    """Cut a text into sentences; headings and list items stand alone, markdown's marks are taken off."""
    found: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        lines: list[str] = []
        for line in block.split("\n"):
            if _LIST.match(line) or not lines:
                lines.append(_LIST.sub("", line).strip())
            else:
                lines[-1] = f"{lines[-1]} {line.strip()}".strip()
        for line in lines:
            found += _cut(line)
    return [one for one in found if normalise(one)]


def _cut(line: str) -> list[str]:
    parts: list[str] = []
    for piece in _END.split(line.replace("**", "").replace("__", "")):
        if parts and _ABBREVIATION.search(parts[-1]):
            parts[-1] = f"{parts[-1]} {piece}"
        else:
            parts.append(piece)
    return [part.strip() for part in parts if part.strip()]
