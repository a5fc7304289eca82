"""When is an answer right, and when does a question rest on a sentence? In any script."""

import re
import unicodedata

_CODES = (*range(0x300, 0xFE00), *range(0xFE10, 0x10000))  # no selectors of an emoji's form; a class of more is slow
MARKS = "".join(one for one in map(chr, _CODES) if unicodedata.category(one) in ("Mn", "Mc"))  # vowel signs, accents
WORD = re.compile(rf"\w+(?:(?:[{MARKS}]|(?<=\d)\.(?=\d))\w*)*")
_JOINER = re.compile(rf"[\u200c\u200d](?:(?<=[{MARKS}].)|(?=[{MARKS}]))")  # changes a shape, not a word
_FIRST = r"[1-9](?<!\d.)(?<!\d[.,].)\d{0,2}"
_SPACED = r"(?:[ \u00a0\u202f]\d{3})+(?! ?\d)"
SPACED_NUMBER = _FIRST + _SPACED  # 12 000, and no telephone number
_THOUSANDS = re.compile(r"(?<=\d)[,'’٬](?=\d{3}(?!\d))")
_GROUPED = re.compile(  # 1.500.000 and 1.500,75; 1.500 may be either
    rf"{_FIRST}(?:{_SPACED}|(?:\.\d{{3}}){{2,}}(?!\.?\d)|(?:\.\d{{3}})+(?=,\d{{1,2}}(?![.,]?\d)))"
)
_CHAIN = re.compile(r"(?<!\d)\d+(?:[.,]\d+){2,}")  # dates, versions, lists: not one number
_POINT = re.compile(r"(?<=\d)[,٫](?=\d)")
SPACELESS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
CHARACTER = re.compile(rf"{SPACELESS.pattern}[{MARKS}]*")
_DIGITS = re.compile(r"\w*\d\w*")
_HIRAGANA = re.compile(r"[\u3040-\u309f]")  # endings and particles for the most part
QUESTION_MARKS = ("?", "？", "؟")
STOP_WORDS = frozenset(
    """
    a an the of in on at to for from by with and or is are was were be been has have had do does did it its this that
    what which who whom whose when where why how many much as into than their his her they he she there
    """.split()  # noqa: SIM905 - a list of quoted words is harder to read
)

COUNT = re.compile(
    r"(?:[€$£¥] ?)?\d|(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|hundred|thousand)\b"
)
PRONOUNS = frozenset(
    "he she it they his her its their him them this these er sie es ihr il elle".split()  # noqa: SIM905 - as above
)


def normalise(text: str) -> str:
    """Return a text's words and numbers, in any script, folded and joined by single spaces.

    A number is one word, with a point before its fraction however that was written, and no sign between thousands.
    """
    return " ".join(WORD.findall(_numbered(fold(text).replace("_", " "))))


def fold(text: str) -> str:
    """Return a text in one form of its characters, with no difference of case."""
    return unicodedata.normalize("NFKC", _JOINER.sub("", text)).casefold()


def _numbered(text: str) -> str:
    whole = _GROUPED.sub(lambda found: re.sub(r"\D", "", found[0]), _THOUSANDS.sub("", text))
    return _POINT.sub(".", _CHAIN.sub(lambda found: re.sub(r"[.,]", " ", found[0]), whole))


def holds(text: str, part: str) -> bool:
    """Say whether a text holds a part as whole words; scripts without spaces have no borders to keep."""
    told, wanted = normalise(text), normalise(part)
    if SPACELESS.search(wanted):
        return wanted.replace(" ", "") in told.replace(" ", "")
    return bool(wanted) and f" {wanted} " in f" {CHARACTER.sub(' ', told)} "  # a number beside such a script


def matches(answer: str, expected: str, sentence: str = "") -> bool:
    """Say whether an answer is the expected one, or holds it as whole words and not much else.

    Not much is 4 times its length, or, where it was taken from a sentence, twice the sentence's.
    """
    said, wanted = normalise(answer), normalise(expected)
    if not wanted:
        return answer.strip() == expected.strip() != ""  # signs only
    most = max(4 * len(wanted), 2 * len(sentence)) + 40
    return said == wanted or (len(said) <= most and holds(answer, expected))


def content_words(text: str) -> frozenset[str]:
    """Return the words that carry meaning; of scripts without spaces the single characters."""
    words: set[str] = set()
    for word in normalise(text).split():
        words.update(char for char in CHARACTER.findall(word) if not _HIRAGANA.match(char))
        words.update(CHARACTER.sub(" ", word).split())
    return frozenset(words) - STOP_WORDS


def alike(one: str, other: str) -> bool:
    """Say whether two texts have the same numbers and, of all their words, four in five (Jaccard) in common."""
    words, others = _units(one), _units(other)
    if _DIGITS.findall(" ".join(sorted(words))) != _DIGITS.findall(" ".join(sorted(others))):
        return False
    return 5 * len(words & others) >= 4 * len(words | others)


def _units(text: str) -> set[str]:
    """Return the words of a text; of scripts without spaces the pairs of neighbouring characters."""
    told = normalise(text)
    if not SPACELESS.search(told):
        return set(told.split())
    return {told[at : at + 2] for at in range(max(1, len(told) - 1))}


def is_question(text: str) -> bool:
    """Say whether a text is one question of 3 to 40 words, or of 4 to 120 characters in a script without spaces."""
    asked = normalise(text)
    if not text.rstrip().endswith(QUESTION_MARKS):
        return False
    if SPACELESS.search(asked):
        return 4 <= len(asked) <= 120
    return 3 <= len(asked.split()) <= 40


def refers_back(question: str) -> bool:
    """Say whether a question means something by a pronoun, and names nothing."""
    names = [word for word in question.split()[1:] if word[0].isupper() and word != "I"]
    return not names and not PRONOUNS.isdisjoint(normalise(question).split())


def fits(question: str, answer: str) -> bool:
    """Say whether an English question word may be answered so: no date for a who, a number for a how many.

    Other questions, and those of other languages, always fit.
    """
    asked = normalise(question)
    has_digit = any(char.isdigit() for char in answer)
    if asked.startswith(("who ", "whose ", "where ")):
        return not has_digit
    if asked.startswith(("when ", "in what year", "in which year")):
        return has_digit
    if asked.startswith(("how many ", "how much ", "how old ", "how long ")):
        return has_digit or COUNT.match(answer.casefold()) is not None
    return True


def is_grounded(question: str, answer: str, sentence: str) -> bool:
    """Say whether a question and its answer rest on a sentence.

    The answer stands in the sentence and not in the question; the question is one, and shares a content word with
    the sentence beside the answer's.
    """
    if not is_question(question) or not holds(sentence, answer) or holds(question, answer):
        return False
    return bool(content_words(question) & (content_words(sentence) - content_words(answer)))
