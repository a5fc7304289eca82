"""Questions that a table asks by itself: what the label of a column says of what a row is about, and back.

A row says what its questions are, as prose does not: of `product: Blue bowl; price: 48 euros.` people ask for the price
of the blue bowl. A row is about the first of its cells whose column tells the rows apart.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from app.core.grounding import normalise
from app.core.rows import cells_of
from app.languages.identify import identify

LONGEST = 8  # words of a value that is asked for as a whole
_UNSURE = 0.3  # below it a table counts as English, as its labels often are
_IDENTIFIERS = frozenset("id no nr number sku code key index row rank #".split())  # noqa: SIM905 - easier to read
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


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
    ("{of}: {what}?", "{what}: {of}?", "{what}, {of}?", "{of} – {what}?", "{of} ({what})?", "{of}, {what}?"),
    ("{what}: {value}. {kind}?", "{kind} – {what}: {value}?", "{kind} ({what}: {value})?"),
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
    """The rows of documents, and what asks for their cells."""

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
        tables: dict[tuple[str, tuple[str, ...]], dict[str, dict[str, str]]] = {}
        for document, sentence in told:
            if cells := dict(cells_of(sentence)):
                tables.setdefault((document, tuple(cells)), {})[sentence] = cells
        rows = {
            (document, sentence): _Row(cells, subject)
            for (document, _), table in tables.items()
            if (subject := _subject(list(table.values())))
            for sentence, cells in table.items()
        }
        words: dict[str, list[str]] = {}
        for (document, labels), table in tables.items():
            words.setdefault(document, []).extend([*labels, *(" ".join(cells.values()) for cells in table.values())])
        return cls(rows, {document: _language(" ".join(each)) for document, each in words.items()})

    def questions(self, document: str, sentence: str, span: str, *, held_out: bool = False) -> list[list[Asked]]:
        """Return what asks for a cell of a row and for what has it, in groups; none of it has several answers.

        There is nothing where the sentence is no row, or the span no cell.

        Args:
            held_out: for the gate, in wordings that are never trained.
        """
        row = self._rows.get((document, sentence))
        labels = [label for label, value in row.cells.items() if value == span] if row else []
        if row is None or not labels:
            return []
        forms = _FORMS.get(self._languages[document], _PLAIN)
        subject = row.cells[row.subject]
        told = [label for label in labels if label != row.subject and self._is_told(document, row, label)]
        known = row.cells if row.subject in labels else labels
        telling = [label for label in known if self._tells(document, row, label)]
        alone = [label for label in telling if self._with[document, normalise(row.cells[label])] == 1]

        def asked(wordings: tuple[str, ...], labels: list[str], answer: str) -> list[Asked]:
            worded = dict.fromkeys(forms.fill(form, row, label) for form in wordings for label in labels)
            return [(one, answer) for one in worded]

        own = slice(-1, None) if held_out else slice(-1)
        groups = [asked(forms.value[own], told, span), asked(forms.subject[own], telling, subject)]
        if self._about[document, normalise(subject)] == 1 and not held_out:
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
    """Return the label of what the rows are about: the first that tells them apart, and is no number or key."""
    worded = [label for label in table[0] if all(map(_is_named, (row[label] for row in table)))]
    apart = [label for label in worded if len({normalise(row[label]) for row in table}) == len(table)]
    named = [label for label in apart if normalise(label) not in _IDENTIFIERS]
    return next(iter([*named, *apart, *worded]), "")


def _is_named(value: str) -> bool:
    return _is_brief(value) and any(char.isalpha() for char in value)


def _is_brief(value: str) -> bool:
    return len(value.split()) <= LONGEST


def _language(text: str) -> str:
    found = identify(" ".join(text.split())[:2000])
    return found.language if found.score >= _UNSURE else "en"


def _worded(label: str, *, small: bool) -> str:
    """Return a label as it is said: `unitPrice` and `unit_price` are a unit price."""
    words = _HUMP.sub(" ", label.replace("_", " ")).split()
    return " ".join(word.lower() if small and not word.isupper() else word for word in words)


def _with_article(subject: str, article: str) -> str:
    """Return a thing as a sentence names it; a name, of capitals throughout, has no article."""
    first, *rest = subject.split()
    if not any(word[0].islower() for word in (first, *rest)):
        return subject
    return " ".join([article, first.lower() if first.istitle() else first, *rest])
