"""What is never judged, blanked out in place: addresses, code, formulas, units, quotations, glosses, a prompt's own."""

import regex

from app.languages.identify import LINE_SCORE, LINE_WORDS, identify_line
from app.languages.letters import letters_of
from app.languages.policies import Allowance, Policy
from app.languages.prompts import foreign_words, labels_asked, scripts_named, words_held
from app.languages.words import words_in

_UNITS = """
nm μm mm cm dm m km mi ft in yd ha a ng μg mg g kg t lb oz μl μL ml mL cl dl dL l L cc ns μs ms s min h
Hz kHz MHz GHz THz mW W kW MW GW TW Wh kWh MWh GWh TWh μV mV V kV μA mA A Ah mAh Ω kΩ MΩ pF nF μF mF F C mT T
K N kN Nm J kJ MJ eV keV MeV GeV cal kcal Pa hPa kPa MPa bar mbar atm psi mmHg nmol μmol mmol mol mEq IU ppm ppb
Bq kBq MBq Sv mSv μSv cd lm lx dB dBm hp bpm bit kbit Mbit Gbit B kB KB MB GB TB PB kbps Mbps Gbps bps fps px dpi rpm
km/h m/s mph am pm AM PM USD EUR x KiB MiB GiB TiB MM CM KM MG KG ML
"""
_WIDE = str.maketrans({chr(one): chr(one + 0xFEE0) for one in range(0x21, 0x7F)})
# μ is Greek, and the sign of its own; a Japanese text writes letters as wide as its own
UNITS = frozenset(f"{_UNITS}{_UNITS.replace('μ', 'µ')}{_UNITS.translate(_WIDE)}".split())
_UNIT = "|".join(sorted(map(regex.escape, UNITS), key=len, reverse=True))
# every pattern is bounded, and cannot begin again inside itself: texts come from anybody
_TOP = "com|org|net|edu|gov|info|io|ai|app|dev|co|kr|jp|cn|ru|de|fr|es|uk|in"
_SITE = rf"(?<![A-Za-z0-9.-])(?:[A-Za-z0-9-]{{1,63}}\.)+(?:{_TOP})(?![A-Za-z0-9])"
_URL = r"[!#-;=?-_a-~]"  # what stands in an address
_PATTERNS = [
    (Allowance.URLS, rf"(?:https?|ftp)://{_URL}+|www\.{_URL}+"),
    (Allowance.EMAIL, r"(?<![A-Za-z0-9_.+-])[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+"),
    (Allowance.URLS, rf"{_SITE}(?:/{_URL}*)?"),
    (Allowance.CODE, r"(?s)```.*?(?:```|\Z)|`[^`\n]{1,200}`"),
    (
        Allowance.LATEX,
        r"(?s)\$\$.{1,2000}?\$\$|\\\((?:(?!\\\().){1,500}?\\\)|\\\[(?:(?!\\\[).){1,2000}?\\\]"
        r"|\\begin\{(\w{1,20}\*?)\}(?:(?!\\begin).){0,2000}?\\end\{\1\}"
        r"|\$(?! )(?=[^$\n]{0,200}[\\^_=+<>*/{]|[^$\s]{1,12}\$)[^$\n]{1,200}(?<! )\$(?!\d)"
        r"|\\[A-Za-z]+(?:\{[^{}\n]{0,100}\})*",
    ),
    (
        Allowance.UNITS,
        rf"(?<=\d[ \u00a0\u2009\u202f]?(?:[^\W\d\p{{Latin}}]{{1,2}}/)?|[°º])"  # 1,000원/kg
        rf"(?:{_UNIT})[²³23]?(?:[/／·⋅](?:{_UNIT}|day|d)[²³23]?){{0,3}}"
        r"(?![\p{Latin}\d])"
        r"|(?<!\p{Greek})\p{Greek}(?!\p{Greek})",
    ),
]  # fmt: skip
_COMPILED = [(allowance, regex.compile(pattern)) for allowance, pattern in _PATTERNS]
_QUOTES = (
    r"\"[^\"\n]{1,200}\"|“[^“”\n]{1,200}”|«[^«»\n]{1,200}»|「[^「」\n]{1,200}」|『[^『』\n]{1,200}』"
    r"|《[^《》\n]{1,200}》|〈[^〈〉\n]{1,200}〉|‹[^‹›\n]{1,200}›"
    # from before a word to behind one: don't, l'eau and the '90s (whose s may be blank by now) quote nothing
    r"|(?<![\p{Latin}\d'])'(?!\s|\d0(?:s|\s\s))(?:[^'\n]|(?<=\p{Latin})'(?=\p{Latin})){1,200}(?<!\s)'(?![\p{Latin}\d'])"
    r"|‘(?:[^‘’\n]|(?<=[A-Za-z])’(?=[A-Za-z])){1,200}’"  # an apostrophe ends no quotation
    r"|„[^„“”\n]{1,200}[“”]|‚[^‚‘’\n]{1,200}‘"
)
_QUOTE = regex.compile(_QUOTES)
# in German; elsewhere what stands so is between two quotations
_QUOTE_INWARDS = regex.compile(rf"{_QUOTES}|»[^«»\n]{{1,200}}«|›[^‹›\n]{{1,200}}‹")
_LINE = regex.compile(r"[^\n]+")
# a text may be cut off inside its last bracket
_BRACKETED = regex.compile(r"[(（〔\[][^()（）〔〕\[\]\n]{0,200}+(?:[)）〕\]]|\s*\Z)")
_PAUSE = ",，、;；:："


def hide(text: str, policy: Policy, prompt: str = "") -> str:
    """Return a text as long as the given one, with blanks for all that is let through; line breaks stay."""
    shown = text
    for allowance, pattern in _COMPILED:
        if allowance in policy.allowed:
            shown = pattern.sub(_blank, shown)
    if Allowance.QUOTES in policy.allowed:
        shown = _LINE.sub(lambda line: _without_quotes(line[0], policy), shown)
    for script in policy.glosses:
        shown = _without_glosses(shown, script)
    if prompt and Allowance.PROMPT in policy.allowed:
        shown = _without_asked(shown, policy, prompt)
    return shown


def _blank(match: regex.Match[str]) -> str:
    return regex.sub(r"[^\n]", " ", match[0])


def _without_glosses(shown: str, script: str) -> str:
    """Blank words in a script that stand alone between a bracket's pauses: (世宗, 1418년(음력 8월)~1450년)."""
    alone = regex.compile(rf"(?<=[(（〔\[{_PAUSE}]\s?)\p{{{script}}}[\p{{{script}}}\s·]*+(?=[{_PAUSE})）〕\]]|\Z)")

    def glossed(text: str) -> str:
        return _BRACKETED.sub(lambda found: alone.sub(_blank, found[0]), text)

    shown = glossed(shown)
    outer = _BRACKETED.sub(_blank, shown)  # brackets that held brackets, now without them
    glosses = zip(shown, outer, glossed(outer), strict=True)
    return "".join(one if before == after else " " for one, before, after in glosses)


def _without_quotes(line: str, policy: Policy) -> str:
    """Blank a line's quotations, unless there is no word of the language outside them."""
    outside = (_QUOTE_INWARDS if policy.language == "de" else _QUOTE).sub(_blank, line)
    return outside if letters_of(policy).target.search(outside) else line


def _without_asked(shown: str, policy: Policy, prompt: str) -> str:
    """Blank what the prompt asks for or holds."""
    shown, held = _without_named(shown, policy, prompt), words_held(prompt, policy)
    for pattern in foreign_words(policy) if held else []:
        shown = pattern.sub(lambda word: _blank(word) if word[0].casefold() in held else word[0], shown)
    return shown


def _without_named(shown: str, policy: Policy, prompt: str) -> str:
    """Blank the scripts that a prompt names, by themselves or by a language, but no line that is surely in another."""
    known = policy.scripts - {"Han"} if policy.charsets else policy.scripts  # of Japanese, not every character
    named = "".join(rf"\p{{{script}}}" for script in sorted(scripts_named(prompt) - known))
    if not named:
        return shown
    letters, labels = regex.compile(f"[{named}]"), labels_asked(prompt)  # a French revolution asks for no English
    own = letters_of(policy).target

    def asked(line: str) -> str:
        return letters.sub(lambda one: one[0] if own.match(one[0]) else " ", line)

    return _LINE.sub(lambda line: line[0] if _is_other(line[0], policy, labels) else asked(line[0]), shown)


def _is_other(line: str, policy: Policy, labels: frozenset[str]) -> bool:
    """Say whether a line is surely neither in the policy's language nor in one of those labels."""
    if words_in(line) < LINE_WORDS or letters_of(policy).target.search(line):
        return False
    guess = identify_line(line)
    return guess.score >= LINE_SCORE and guess.language not in labels
