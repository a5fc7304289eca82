"""What counts as a language's own text: its scripts, what may stand beside them, and what is never judged."""

from dataclasses import dataclass
from enum import StrEnum

from app.core.errors import InvalidValue

LATIN = "Latin"


class Allowance(StrEnum):
    """A kind of foreign text that is let through."""

    URLS = "urls"
    EMAIL = "email"
    CODE = "code"
    LATEX = "latex"
    UNITS = "units"
    QUOTES = "quotes"
    PROMPT = "prompt"


@dataclass(frozen=True)
class Policy:
    """How one language's text is judged.

    Attributes:
        language: its ISO 639-1 code.
        scripts: the Unicode scripts its words are written in.
        glosses: scripts that may stand in brackets (Hanja after a Korean word).
        charsets: the codecs of which one at least holds every character of the language's own, where one script
            serves several languages: Han characters that no Japanese standard knows are Chinese.
        labels: what the language identifier may call a line of it.
        strict: ASCII letters are off (English-strict); otherwise they are ignored (English-neutral). A language in
            Latin script has them for its own either way.
        allowed: what is let through.
    """

    language: str
    scripts: frozenset[str]
    glosses: frozenset[str] = frozenset()
    charsets: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()
    strict: bool = False
    allowed: frozenset[Allowance] = frozenset(Allowance)

    @property
    def is_latin(self) -> bool:
        """Whether the language is written in Latin script: its lines are told from others by identification only."""
        return LATIN in self.scripts


_LANGUAGES = {
    "ar": ("Arabic", "arz"),
    "bg": ("Cyrillic", ""),
    "de": (LATIN, "als bar nds"),
    "el": ("Greek", ""),
    "en": (LATIN, ""),
    "es": (LATIN, ""),
    "fr": (LATIN, ""),
    "he": ("Hebrew", ""),
    "hi": ("Devanagari", ""),
    "id": (LATIN, "ms"),
    "it": (LATIN, ""),
    "ja": ("Han Hiragana Katakana", ""),
    "ko": ("Hangul", ""),
    "nl": (LATIN, ""),
    "pl": (LATIN, ""),
    "pt": (LATIN, ""),
    "ru": ("Cyrillic", ""),
    "th": ("Thai", ""),
    "tr": (LATIN, ""),
    "uk": ("Cyrillic", ""),
    "vi": (LATIN, ""),
    "zh": ("Han Bopomofo", "yue wuu"),
}
_GLOSSES = {"ko": frozenset({"Han"})}
_CHARSETS = {"ja": ("euc_jis_2004", "cp932")}  # 髙 of names is in the second alone
LANGUAGES = tuple(_LANGUAGES)


def policy_for(language: str, *, strict: bool = False) -> Policy:
    """Return how a language is judged.

    Args:
        language: an ISO 639-1 code.
        strict: let no ASCII letters through.

    Raises:
        InvalidValue: the language is not known.
    """
    if language not in _LANGUAGES:
        raise InvalidValue(f"The language {language[:32]!r} is not known: name one of {', '.join(LANGUAGES)}.")
    scripts, labels = _LANGUAGES[language]
    return Policy(
        language=language,
        scripts=frozenset(scripts.split()),
        glosses=_GLOSSES.get(language, frozenset()),
        charsets=_CHARSETS.get(language, ()),
        labels=frozenset({language, *labels.split()}),
        strict=strict,
    )
