"""Questions that a table asks by itself: what the label of a column says of what a row is about, and back.

A row says what its questions are, as prose does not: of `product: Blue bowl; price: 48 euros.` people ask for the price
of the blue bowl. A row is about the first of its cells whose column tells the rows apart.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Self

from app.core.grounding import QUESTION_MARKS, normalise
from app.core.rows import cells_of
from app.languages.identify import identify

_LONGEST = 6  # words of what is put into a question
_UNSURE = 0.3  # below it a table counts as English, as its labels often are
_KEYS = frozenset("id uuid guid no nr number sku code key index row rank #".split())  # noqa: SIM905 - easier to read
_NAMES = frozenset("name title product item model person employee city country".split())  # noqa: SIM905
_SOME, _MOST = 0.6, 0.8  # of a column's values that differ
_ARTICLES = frozenset(["the", "a", "an", "my", "our", "your"])
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_STOPS = (".", "!", "。", "！", "؟", "।")

Asked = tuple[str, str]  # a question and its answer


@dataclass(frozen=True)
class Forms:
    """How one language asks: `{of}` is what a row is about, `{kind}` its label, `{what}` and `{value}` another cell's.

    Attributes:
        value, subject: what asks for a value of a subject, and for the subject of a value; the last is kept for the
            gate.
        about, having: what a whole row answers, whatever is meant, of a subject and of a value: so people begin who
            word a question in their own way.
        article: before a thing that is no name; a language with one writes labels small.
    """

    value: tuple[str, ...]
    subject: tuple[str, ...]
    about: tuple[str, ...] = ("{of}?",)
    having: tuple[str, ...] = ("{value}?",)
    article: str = ""

    def fill(self, form: str, row: "_Row", label: str) -> str:
        """Ask for a cell of a row, for what has it, or about the row."""
        subject = row.cells[row.subject]
        of = _with_article(subject, self.article) if self.article else subject
        what, kind = (_worded(one, small=bool(self.article)) for one in (label, row.subject))
        asked = form.format(of=of, what=what, kind=kind, value=row.cells[label])
        return asked[0].upper() + asked[1:]


_PLAIN = Forms(
    ("{of}: {what}?", "{what}: {of}?", "{kind} {of}: {what}?", "{what} – {kind} {of}?", "{of} ({kind}): {what}?"),
    ("{what}: {value}. {kind}?", "{kind} – {what}: {value}?", "{value} ({what}): {kind}?", "{what} – {kind}: {value}?"),
)
_FORMS = {
    "en": Forms(
        (
            "What is the {what} of {of}?",
            "What {what} does {of} have?",
            "What is {of}'s {what}?",
            "Tell me the {what} of {of}.",
            "Which {what} does {of} have?",
            "{of}: what {what}?",
            "Do you know the {what} of {of}?",
            "And the {what} of {of}?",
            "Give me {of}'s {what}.",
            "I need the {what} for {of}: what is it?",
        ),
        (
            "Which {kind} has the {what} {value}?",
            "{value} is the {what} of which {kind}?",
            "Which {kind} has a {what} of {value}?",
            "What {kind} has {value} as its {what}?",
            "Of which {kind} is {value} the {what}?",
        ),
        (
            "Tell me about {of}.",
            "Who is behind {of}?",
            "How much is {of}?",
            "How is {of}?",
            "Where is {of}?",
            "When was {of}?",
            "What do you know of {of}?",
            "What is there to say of {of}?",
            "Which is {of}?",
            "Whose is {of}?",
            "How can I get {of}?",
            "By whom is {of}?",
            "How many are there of {of}?",
        ),
        (
            "What has {value}?",
            "Who is {value}?",
            "Who is the {value}?",
            "Who has {value}?",
            "Tell me about {value}.",
            "Which one is {value}?",
            "What is there with {value}?",
            "Whom do I ask for {value}?",
            "Where is {value}?",
            "{value}?",
        ),
        article="the",
    ),
    "ja": Forms(
        (
            "{of}の{what}は？",
            "{of}の{what}は何ですか？",
            "{of}の{what}を教えてください。",
            "{of}の{what}はいくつですか？",
        ),
        ("{what}が{value}の{kind}は何ですか？", "{what}が{value}の{kind}は？"),
    ),
    "zh": Forms(
        ("{of}的{what}是什么？", "{of}的{what}是多少？", "请问{of}的{what}？", "{of}的{what}？"),
        ("哪个{kind}的{what}是{value}？", "{what}是{value}的{kind}是哪个？"),
    ),
}


@dataclass(frozen=True)
class _Row:
    cells: dict[str, str]
    subject: str  # the label of what it is about


class Labelled:
    """The rows of documents, two of a table at least, and what asks for their cells."""

    def __init__(self, rows: dict[tuple[str, str], _Row], languages: dict[str, str]) -> None:
        self._rows, self._languages = rows, languages
        self._values: dict[tuple[str, str, str], set[str]] = {}  # of a subject
        self._subjects: dict[tuple[str, str, str], set[str]] = {}  # of a value
        self._about: Counter[tuple[str, str]] = Counter()  # rows about a subject
        self._with: Counter[tuple[str, str]] = Counter()  # rows with a value, whatever its label
        for (document, _), row in rows.items():
            subject = normalise(row.cells[row.subject])
            self._about[document, subject] += 1
            self._with.update((document, value) for value in {*map(normalise, row.cells.values())})
            for label, value in row.cells.items():
                self._values.setdefault((document, label, subject), set()).add(normalise(value))
                self._subjects.setdefault((document, label, normalise(value)), set()).add(subject)

    @classmethod
    def of(cls, told: Iterable[tuple[str, str]]) -> Self:
        """Find the rows among sentences, each given behind the name of its document."""
        tables: dict[tuple[str, str], dict[str, dict[str, str]]] = {}  # by document and first label
        for document, sentence in told:
            if cells := cells_of(sentence):
                tables.setdefault((document, cells[0][0]), {})[sentence] = dict(cells)
        tables = {place: table for place, table in tables.items() if len(table) > 1}
        rows = {
            (document, sentence): _Row(cells, subject)
            for (document, _), table in tables.items()
            if (subject := _subject(list(table.values())))
            for sentence, cells in table.items()
            if _is_worded(cells[subject]) or _is_brief(cells[subject])
        }
        texts: dict[str, list[str]] = {}  # labels, and values
        for (document, _), table in tables.items():
            text = texts.setdefault(document, ["", ""])
            text[0] += " ".join(["", *dict.fromkeys(chain(*table.values()))])
            text[1] += " ".join(["", *chain(*(cells.values() for cells in table.values()))])
        return cls(rows, {document: _language(*each) for document, each in texts.items()})

    def cells(self, document: str, sentence: str) -> dict[str, str]:
        """Return the cells of a row that are asked for by their labels: none of what is no row."""
        row = self._rows.get((document, sentence))
        return {label: value for label, value in row.cells.items() if normalise(value)} if row else {}

    def questions(self, document: str, sentence: str, label: str, *, held_out: bool = False) -> list[list[Asked]]:
        """Return what asks for a cell of a row and for what has it, in groups; none of it has several answers.

        Args:
            held_out: for the gate, in wordings that are never trained.
        """
        row = self._rows[document, sentence]
        subject = row.cells[row.subject]
        is_alone = self._about[document, normalise(subject)] == 1
        if _asks(subject):  # as it stands
            return [[(subject, sentence)]] if label == row.subject and is_alone and not held_out else []
        forms = _FORMS.get(self._languages[document], _PLAIN)
        told = [label] if label != row.subject and self._is_told(document, row, label) else []
        known = row.cells if label == row.subject else [label]
        telling = [one for one in known if self._tells(document, row, one)]
        alone = [one for one in telling if self._with[document, normalise(row.cells[one])] == 1]

        def asked(wordings: tuple[str, ...], labels: list[str], answer: str) -> list[Asked]:
            worded = dict.fromkeys(forms.fill(form, row, one) for form in wordings for one in labels)
            return [(one, answer) for one in worded]

        own = slice(-1, None) if held_out else slice(-1)
        groups = [asked(forms.value[own], told, row.cells[label]), asked(forms.subject[own], telling, subject)]
        if is_alone and not held_out:
            groups += [asked(forms.about, told, sentence), asked(forms.having, alone, sentence)]
        return [group for group in groups if group]

    def _is_told(self, document: str, row: _Row, label: str) -> bool:
        """Say whether a subject has one value."""
        return len(self._values[document, label, normalise(row.cells[row.subject])]) == 1

    def _tells(self, document: str, row: _Row, label: str) -> bool:
        """Say whether a value is of another cell, has one subject, and is brief."""
        value = row.cells[label]
        return label != row.subject and _is_brief(value) and len(self._subjects[document, label, normalise(value)]) == 1


def _subject(table: list[dict[str, str]]) -> str:
    """Return the label of what the rows are about: the first that tells them apart, and is no key.

    One that is called a name may do so for some of them; one of numbers only where it is the first.
    """
    shared = [label for label in table[0] if all(label in row for row in table)]
    worded = [label for label in shared if sum(_is_worded(row[label]) for row in table) >= _MOST * len(table)]
    named = [label for label in worded if _last_word(label) in _NAMES and _differ(table, label) >= _SOME]
    own = [label for label in shared if (label in worded or label == shared[0]) and _last_word(label) not in _KEYS]
    apart = [label for label in own if _differ(table, label) == 1]
    mostly = [label for label in own if label in worded and _differ(table, label) >= _MOST]
    keys = [label for label in worded if _differ(table, label) == 1]
    return next(iter([*named, *apart, *mostly, *keys, *worded]), "")


def _differ(table: list[dict[str, str]], label: str) -> float:
    return len({normalise(row[label]) for row in table}) / len(table)


def _last_word(label: str) -> str:
    return normalise(_worded(label, small=True)).rpartition(" ")[2] or label


def _is_worded(value: str) -> bool:
    return (_is_brief(value) or _asks(value)) and any(char.isalpha() for char in value)


def _asks(value: str) -> bool:
    return value.endswith(QUESTION_MARKS)


def _is_brief(value: str) -> bool:
    return len(value.split()) <= _LONGEST and not value.endswith(_STOPS)


def _language(labels: str, values: str) -> str:
    """Return the language of a table, which its labels tell better than names among its values."""
    if identify(labels[:2000]).language == "en":
        return "en"
    found = identify((labels + values)[:2000])
    return found.language if found.score >= _UNSURE else "en"


def _worded(label: str, *, small: bool) -> str:
    """Return a label as it is said: `unitPrice` and `unit_price` are a unit price, `is_active` is active."""
    words = _HUMP.sub(" ", label.replace("_", " ")).split()
    words = words[1:] if len(words) > 1 and words[0].casefold() in {"is", "has"} else words
    return " ".join(word.lower() if small and not word.isupper() else word for word in words)


def _with_article(subject: str, article: str) -> str:
    """Return a thing as a sentence names it; a name, which begins and ends with a capital or digit, has no article."""
    first, *rest = subject.split()
    is_name = not any(word[0].islower() for word in (first, (rest or [first])[-1]))
    if is_name or first.casefold() in _ARTICLES:
        return subject
    return " ".join([article, first.lower() if first.istitle() else first, *rest])
