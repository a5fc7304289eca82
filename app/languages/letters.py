"""A policy's letters by Unicode script: its own, and those that are off. Everything else is neutral.

Letters of the scripts Common and Inherited (the long vowel mark of kana, combining accents), digits, punctuation,
symbols, emoji and U+FFFD are no letters of any language.
"""

from dataclasses import dataclass
from functools import lru_cache

import regex

from app.languages.policies import Policy

_ANY = r"[[\p{L}\p{M}]--[\p{sc=Common}\p{sc=Inherited}\p{sc=Unknown}ªº]]"
_ASCII = "[A-Za-zＡ-Ｚａ-ｚ]"
# digits and accents belong to the Latin word they follow, as do a hyphen, a point or an apostrophe inside it; Ⅲ and º
# are no word
_LATIN_WORD = r"[[\p{Latin}&&\p{L}]--[ªº]](?:[\p{Latin}\p{Mn}\p{N}]|['’.\-_+&](?=[\p{Latin}\p{N}]))*"


@dataclass(frozen=True)
class Letters:
    """Patterns of a policy's letters.

    Attributes:
        target: one letter of the language's own.
        off: one letter of another language's.
        foreign: a run of letters that are off and not Latin.
    """

    target: regex.Pattern[str]
    off: regex.Pattern[str]
    foreign: regex.Pattern[str]


@lru_cache(maxsize=64)
def letters_of(policy: Policy) -> Letters:
    """Return the patterns of a policy."""
    own = _own(policy)
    ignored = own if policy.is_latin or policy.strict else f"[{own}{_ASCII}]"
    foreign = rf"[{_ANY}--[{own}\p{{Latin}}]]"
    return Letters(
        target=_compile(f"[{_ANY}&&{own}]"),
        off=_compile(f"[{_ANY}--{ignored}]"),
        foreign=_compile(rf"{foreign}[{foreign}\p{{Mn}}ー]*"),
    )


def _own(policy: Policy) -> str:
    """Return the set of a language's own characters."""
    scripts = policy.scripts - {"Han"} if policy.charsets else policy.scripts
    named = "".join(rf"\p{{sc={script}}}" for script in sorted(scripts))
    return f"[{named}{_han(policy.charsets) if policy.charsets else ''}]"


@lru_cache(maxsize=4)
def _han(charsets: tuple[str, ...]) -> str:
    """Return every Han character that one of a language's standards knows."""
    han = regex.compile(r"\p{Han}")
    every = (chr(code) for code in [*range(0x2E80, 0xFB00), *range(0x20000, 0x2FA20)] if not 0xD800 <= code < 0xE000)
    return "".join(one for one in every if han.match(one) and any(one.encode(name, "ignore") for name in charsets))


def _compile(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.V1)


LATIN_WORD = _compile(_LATIN_WORD)
