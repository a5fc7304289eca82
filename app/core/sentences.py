"""Where sentences begin and end: prose, headings, lists and tables; Latin and other full stops."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, pairwise, zip_longest

from app.core.grounding import is_question, normalise
from app.core.rows import cells_of

_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]|#{1,6}|:(?= {2}))\s+")
_NUMBER = re.compile(r"^\s*(\d{1,3})[.)]\s+")  # a mark, or the day of a date, an ordinal, the end of a sentence
_SPEAKER = (  # Q: or **A2.** in front of what is said
    r"^\s*(?:>\s*)?(?:[*_]{{2}})?(?:{})\s*\d{{0,3}}(?:[*_]{{2}})?"
    r"(?:(?:[.)]|\s*:|\s[-–](?=\s))(?:[*_]{{2}})?\s+|\s*：\s*)"
)
_ASKS = re.compile(
    _SPEAKER.format(
        "Q|Question|Frage|F|P|Pregunta|Pergunta|D|Domanda|Pytanie|В|Вопрос|问题?|問題?|質問|질문|문|سؤال|س|प्रश्न|प्र"
    ),
    re.IGNORECASE,
)
_REPLIES = re.compile(
    _SPEAKER.format(
        "A|Answer|Antwort|R|Réponse|Respuesta|Risposta|Resposta|Odpowiedź|О|Ответ|答案?|回答|답변?|جواب|إجابة|ج|उत्तर|उ"
    ),
    re.IGNORECASE,
)
_ASKED = re.compile(r"[?？؟]|か。")
_FRONT = re.compile(r"^\s*(?:\d{1,3}(?:\.\d{1,3})+[.)]?\s|\d{1,3}[.)、]|\(\d{1,3}\))\s*")
_BRACKETED = re.compile(r"^\s*\d{1,3}\)\s")
_DATE = re.compile(r"^\s*\d{1,2}\.\s+[^\s\d]+\s+\d{4}(?!\d)")
_ALONE = re.compile(r"^\s*(?:#{1,6}\s|\||[-=]{3,}\s*$)")  # no heading, row of a table or rule goes on
_ABBREVIATION = re.compile(
    r"\b(?:[^\W\d_]|(?<![\d.,:€$£])\d{1,2}|Mrs?|Ms|Dr|Prof|St|Nr|Nos?|vs|etc|cf|al|Fig|Eq|Inc|Ltd|Co|Corp|Jr|Sr|approx|ca|bzw|usw|"
    r"Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|e\.g|i\.e|z\.B|d\.h|p\.m|a\.m)\.$"
)
_LONGEST = len("approx.")  # of what `_ABBREVIATION` finds
# each run of stops is tried once
_END = re.compile(r"(?<![.!?…؟۔।॥])[.!?…؟۔।॥]++[\"'”’)\]»]*+\s++(?=\S)|[。！？｡]+[」』”’）]*")
_NOTE = re.compile(  # a footnote's mark behind the end of a sentence
    r"([.!?…؟۔।॥。！？｡][\"'”’)\]»」』）]*+)(?:\[{1,2}\^?[1-9]\d{0,2}\]{1,2}|[¹²³⁰⁴-⁹]+)++(?![!-~])"
)
_OPENING = re.compile(r"[\"'“‘(\[«]*+")
_CLOSING = "\"'”’)]»」』）"
_APART = re.compile(r"(\n\s*\n|^[ \t]*```[^`\n]*\n[\s\S]*?^[ \t]*```)", re.MULTILINE)  # blank lines, code
_WIDEST = 160  # characters; what goes on for longer was not wrapped
_NARROW = 30  # characters; nor was what is narrower, or half as wide where a script has no capitals to tell by
_ROOM = 0.9  # of the widest line, to be sure: letters differ in width
_BROKEN = re.compile(r"\S {2}$")  # markdown's sign for a line that ends here
_WORD = re.compile(r"[^\W_]\S*")
_LABEL = re.compile(r"[^:：]{1,40}(?::(?!\S)|：)")
_EMPHASIS = re.compile(r"(?<![A-Za-z0-9])(?:\*\*|__)|(?:\*\*|__)(?![A-Za-z0-9])")  # not 2**8, nor snake__case
_BLANKS = re.compile(r"[ \t]{2,}")
_TITLE = 100
_FULL_STOPS = (".", "!", "?", "…", "؟", "۔", "।", "॥", "。", "！", "？", "｡")
_STOPS = (*_FULL_STOPS, ":", ";", ",", "-", "：", "；", "，", "、", "،")


def sentences(text: str) -> list[str]:
    """Cut a text into sentences; headings, list items and table rows stand alone, marks of all kinds are taken off."""
    return list(chain(*map(sentences_of_line, unmarked(unwrapped(text).split("\n")))))


def sentences_of_line(line: str) -> list[str]:
    """Cut what is one line, its mark taken off, however short it is."""
    return [one for one in _cut(line.strip(" |\t")) if normalise(one)]


def unmarked(lines: Sequence[str]) -> list[str]:
    """Take the marks off a text's lines, and the labels of questions and answers.

    What may be the day of a date, or an ordinal, is no mark.
    """
    items = _items(["" if _DATE.match(line) else line for line in lines])
    told = [
        _MARK.sub("", line) if place in items or _BRACKETED.match(line) else line for place, line in enumerate(lines)
    ]
    for asks, replies in _spoken(told):
        told[asks], told[replies] = _ASKS.sub("", told[asks]), _REPLIES.sub("", told[replies])
    return told


def _spoken(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the places of lines that are labelled as a question and, next after it, its answer."""
    told = [place for place, line in enumerate(lines) if line.strip()]
    yield from (
        (asks, replies)
        for asks, replies in pairwise(told)
        if _ASKS.match(lines[asks]) and _ASKED.search(lines[asks]) and _REPLIES.match(lines[replies])
    )


def is_reply(line: str) -> bool:
    """Say whether a line is labelled as an answer."""
    return _REPLIES.match(line) is not None


def unlabelled(question: str) -> str:
    """Return a question without its number, or the label that says that it is one."""
    return _ASKS.sub("", _FRONT.sub("", question))


def unwrapped(text: str) -> str:
    """Return a text with a blank for each line's end that only the width made; every character keeps its place."""
    parts = _APART.split(text)  # blank lines and code, and between them what is written in lines
    return "".join(part if place % 2 else _joined(part) for place, part in enumerate(parts))


def title_of(text: str) -> str:
    """Return what a text calls itself: its first line, where that is a heading or stands alone; else nothing."""
    first, _, rest = text.strip().partition("\n")
    title = unmarked(text.strip().split("\n"))[0].strip()
    stands_alone = rest[:1] in {"\n", "=", "-"} and len(title) <= _TITLE and not title.endswith(_STOPS)
    return title[:_TITLE] if first.startswith("#") or stands_alone else ""


def _joined(block: str) -> str:
    lines = block.split("\n")
    widest = max(map(len, lines))
    items = _items(lines)
    items |= _listed(lines, items)
    ends = (
        "\n" if place in items or _is_asked(place, *pair) or not _goes_on(*pair, widest) else " "
        for place, pair in enumerate(pairwise(lines), 1)
    )
    return "".join(chain(*zip_longest(lines, ends, fillvalue="")))


def _is_asked(place: int, before: str, line: str) -> bool:
    """Say whether a block begins with a question that the next line answers, however long that is."""
    return place == 1 and is_question(before) and not is_question(line)


def _items(lines: Sequence[str]) -> set[int]:
    """Return the places of lines with a mark; a number is one where the number before or after it has a line too."""
    marked = {place for place, line in enumerate(lines) if _MARK.match(line)}
    numbers = [(int(found[1]), place) for place, line in enumerate(lines) if (found := _NUMBER.match(line))]
    runs = [(number, {place for _, place in run}) for number, run in groupby(numbers, key=lambda one: one[0])]
    listed = (run | after for (number, run), (other, after) in pairwise(runs) if abs(number - other) == 1)
    return marked - {place for _, place in numbers} | set().union(*listed)


def _listed(lines: Sequence[str], items: set[int]) -> set[int]:
    """Return the places of a list's lines that have no marks, between headings and rows of tables."""
    runs = [list(run) for _, run in groupby(range(len(lines)), key=lambda place: bool(_ALONE.match(lines[place])))]
    return {place for run in runs if items.isdisjoint(run) and _is_list([lines[one] for one in run]) for place in run}


def _is_list(lines: Sequence[str]) -> bool:
    """Say whether each line says something of its own: a value behind a label, a sentence, or what no width cut off.

    The first may be what the list is called.
    """
    told = [line.strip() for line in lines if _WORD.search(line)]
    if (len(told) > 2 or max(map(len, told), default=0) < _NARROW) and all(map(_LABEL.match, told)):
        return True
    firsts = [found[0] for line in told if (found := _WORD.search(line))]
    margins = {len(line) - len(line.lstrip()) for line in lines if line.strip()}
    if len(told) < 3 or len(margins) > 1 or any(first[0].islower() for first in firsts):
        return False
    if any(line.rstrip(":：").endswith(_STOPS) for line in told[:-1]):
        return all(line.rstrip(_CLOSING).endswith(_FULL_STOPS) for line in told)
    return (
        _are_alike(told)
        or (len(told) > 3 and _are_alike(told[1:]))
        or _is_narrow(told, firsts)
        or _has_room(told, firsts)
    )


def _are_alike(lines: Sequence[str]) -> bool:
    """Say whether all lines begin with a digit, or all end with one, or with the same sign."""
    ends = {"0" if line[-1].isdigit() else line[-1] for line in lines}
    return all(line[0].isdigit() for line in lines) or (len(ends) == 1 and not ends.pop().isalpha())


def _is_narrow(lines: Sequence[str], firsts: Sequence[str]) -> bool:
    has_capitals = all(first[0].isupper() or first[0].isdigit() for first in firsts)
    return max(map(len, lines)) < (_NARROW if has_capitals else _NARROW / 2)


def _has_room(lines: Sequence[str], firsts: Sequence[str]) -> bool:
    """Say whether most lines, a heading aside, end where the next one's first word had room."""
    most = _ROOM * max(map(len, lines))
    rooms = [len(line) + 1 + len(first) <= most for line, first in zip(lines[1:], firsts[2:], strict=False)]
    return 2 * sum(rooms) > len(rooms)


def _goes_on(before: str, line: str, widest: int) -> bool:
    """Say whether a line carries on the one before, and is not the next sentence where the first word had room."""
    if not before.strip() or not line.strip() or _begins(before, line, widest):
        return False
    if _BROKEN.search(before) and not _carries_on(line.lstrip(), 0):
        return False
    has_room = widest > _WIDEST or len(before.rstrip()) + len(line.split(maxsplit=1)[0]) < widest
    return not (has_room and _ends(before.rstrip()) and not _carries_on(line.lstrip(), 0))


def _begins(before: str, line: str, widest: int) -> bool:
    """Say whether a line that is no item of a list begins anew; a number does not in the midst of a sentence."""
    if _ALONE.match(before) or _ALONE.match(line):
        return True
    if _ASKS.match(line) and (_ends(before.rstrip()) or _REPLIES.match(before)):
        return True
    if _ASKS.match(before) and _REPLIES.match(line):
        return True
    if (number := _NUMBER.match(line)) and (
        _NUMBER.match(before)
        or _ends(before.rstrip())
        or before.rstrip().endswith((":", ";"))
        or line.startswith(("**", "__"), number.end())
    ):
        return True
    is_title = len(before) < 0.6 * widest and not before.rstrip().endswith(_STOPS)
    return is_title and not line.lstrip()[:1].islower()


def _ends(line: str) -> bool:
    return line.rstrip(_CLOSING).endswith(_FULL_STOPS) and not _is_abbreviated(line, 0, len(line))


def _is_abbreviated(line: str, start: int, end: int) -> bool:
    return _ABBREVIATION.search(line, max(start, end - _LONGEST), end) is not None


def _carries_on(line: str, start: int) -> bool:
    """Say whether what begins there is lower case, quotation marks aside."""
    after = _OPENING.match(line, start).end()  # type: ignore[union-attr]
    return line[after : after + 1].islower()


def _cut(line: str) -> list[str]:
    line = _NOTE.sub(r"\1", _BLANKS.sub(" ", _EMPHASIS.sub("", line)))
    if cells_of(line):  # a full stop in a cell ends no row
        return [line]
    parts: list[str] = []
    start = 0
    for match in _END.finditer(line):
        end = match.start() + len(match[0].rstrip())
        if _is_abbreviated(line, start, end) or _carries_on(line, match.end()):
            continue
        parts.append(line[start:end])
        start = match.end()
    return [part.strip() for part in [*parts, line[start:]] if part.strip()]
