"""Where sentences begin and end: prose, headings, lists and tables; Latin and other full stops."""

import re

from app.core.grounding import normalise

_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]|#{1,6})\s+")
_ALONE = re.compile(r"^\s*(?:#{1,6}\s|\|)")  # nothing is carried on after a heading or a table's row
_ABBREVIATION = re.compile(
    r"\b(?:[^\W\d_]|(?<![\d.,€$£])\d{1,2}|Mrs?|Ms|Dr|Prof|St|Nr|Nos?|vs|etc|cf|al|Fig|Eq|Inc|Ltd|Co|Corp|Jr|Sr|approx|ca|bzw|usw|"
    r"Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|e\.g|i\.e|z\.B|d\.h|p\.m|a\.m)\.$"
)
_LONGEST = len("approx.")  # of what `_ABBREVIATION` finds
# each run of stops is tried once
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]»]*+\s++(?=\S)|[。！？｡]+[」』”’）]*")
_OPENING = re.compile(r"[\"'“‘(\[«]*+")
_TITLE = 100
_STOPS = (".", "!", "?", "…", ":", ";", ",", "。", "！", "？", "｡", "-")


def sentences(text: str) -> list[str]:
    """Cut a text into sentences; headings, list items and table rows stand alone, markdown's marks are taken off."""
    blocks = re.split(r"\n\s*\n", text)
    return [one for block in blocks for line in _lines(block) for one in _cut(line) if normalise(one)]


def title_of(text: str) -> str:
    """Return what a text calls itself: its first line, where that is a heading or stands alone; else nothing."""
    first, _, rest = text.strip().partition("\n")
    title = _MARK.sub("", first).strip()
    stands_alone = rest[:1] in {"\n", "=", "-"} and len(title) <= _TITLE and not title.endswith(_STOPS)
    return title[:_TITLE] if first.startswith("#") or stands_alone else ""


def _lines(block: str) -> list[str]:
    """Join what a line's width has wrapped; leave apart what stands alone."""
    raw = [line for line in block.split("\n") if line.strip()]
    widest = max(map(len, raw), default=0)
    joined: list[list[str]] = []
    for place, line in enumerate(raw):
        plain = _MARK.sub("", line).strip(" |\t")
        if joined and not _begins(raw[place - 1], line, widest):
            joined[-1].append(plain)
        else:
            joined.append([plain])
    return [" ".join(one) for one in joined]


def _begins(before: str, line: str, widest: int) -> bool:
    if _MARK.match(line) or _ALONE.match(before) or _ALONE.match(line):
        return True
    is_title = len(before) < 0.6 * widest and not before.rstrip().endswith(_STOPS)
    return is_title and not line.lstrip()[:1].islower()


def _cut(line: str) -> list[str]:
    line = line.replace("**", "").replace("__", "")
    parts: list[str] = []
    start = 0
    for match in _END.finditer(line):
        end = match.start() + len(match[0].rstrip())
        after = _OPENING.match(line, match.end()).end()  # type: ignore[union-attr]
        if _ABBREVIATION.search(line, max(start, end - _LONGEST), end) or line[after : after + 1].islower():
            continue
        parts.append(line[start:end])
        start = match.end()
    return [part.strip() for part in [*parts, line[start:]] if part.strip()]
