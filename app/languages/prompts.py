"""What a prompt lets its answer say in another language: the languages it names and the words it holds."""

from unicodedata import normalize

import regex

from app.languages.letters import LATIN_WORD, letters_of
from app.languages.policies import Policy
from app.languages.words import words_in

# how languages are called, in each other; a name in a script with cases stands without its ending
_NAMES = {
    "ar": "arabic arabe árabe arabisch arabo арабск عربي العربية अरबी 아랍어 アラビア語 阿拉伯",
    "bg": "bulgarian bulgare búlgaro bulgarisch bulgaro"
    " болгарск البلغارية बल्गेरियाई 불가리아어 ブルガリア語 保加利亚[语文]",
    "de": "german allemand alemán alemão deutsch tedesco немецк الألمانية जर्मन 독일어 ドイツ語 德语 德文 德語",
    "el": "greek grec griego grego griechisch greco"
    " греческ древнегреческ اليونانية यूनानी ग्रीक 그리스어 ギリシャ語 希腊[语文]",
    "en": "english anglais inglés inglês englisch inglese английск الإنجليزية अंग्रेज़ी अंग्रेजी 영어 英語 英语 英文",
    "es": "spanish espagnol español espanhol spanisch spagnolo испанск الإسبانية स्पेनिश 스페인어 スペイン語 西班牙",
    "fr": "french français francés francês französisch francese французск الفرنسية फ्रेंच 프랑스어 フランス語 法语 法文",
    "he": "hebrew hébreu hebreo hebraico hebräisch ebraico иврит العبرية हिब्रू इब्रानी 히브리어 ヘブライ語 希伯来",
    "hi": "hindi хинди الهندية हिंदी हिन्दी 힌디어 ヒンディー語 印地语",
    "id": "indonesian indonésien indonesio indonesisch индонезийск الإندونيسية 인도네시아어 インドネシア語 印尼",
    "it": "italian italien italiano italienisch итальянск الإيطالية इतालवी 이탈리아어 イタリア語 意大利语",
    "ja": "japanese japonais japonés japonês japanisch giapponese японск اليابانية जापानी 일본어 日本語 日语 日文",
    "ko": "korean coréen coreano koreanisch корейск الكورية कोरियाई 한국어 한국말 韓国語 韩语 韩文",
    "nl": "dutch néerlandais neerlandés holandés holandês niederländisch holländisch olandese нидерландск голландск"
    " الهولندية डच 네덜란드어 オランダ語 荷兰[语文]",
    "pl": "polish polonais polaco polonês polnisch polacco польск البولندية पोलिश 폴란드어 ポーランド語 波兰[语文]",
    "pt": "portuguese portugais portugués português portugiesisch португал البرتغالية 포르투갈어 ポルトガル語 葡萄牙",
    "ru": "russian russe ruso russo russisch русск الروسية रूसी 러시아어 ロシア語 俄语 俄文",
    "th": "thai thaï tailandés tailandês thailändisch tailandese тайск التايلاندية थाई 태국어 タイ語 泰[语文]",
    "tr": "turkish turc turco türkisch турецк التركية तुर्की 터키어 튀르키예어 トルコ語 土耳其语",
    "uk": "ukrainian ukrainien ucraniano ukrainisch ucraino"
    " украинск الأوكرانية यूक्रेनी 우크라이나어 ウクライナ語 乌克兰[语文]",
    "vi": "vietnamese vietnamien vietnamita vietnamesisch вьетнамск الفيتنامية वियतनामी 베트남어 ベトナム語 越南语",
    "zh": "chinese chinois chino chinês chinesisch cinese китайск الصينية चीनी 중국어 中国語 中文 汉语 漢語",
}
_BEFORE = r"(?<![\p{Latin}\p{Cyrillic}\p{Devanagari}])"  # scripts whose words stand alone: китайский names no Thai
_NAMED = {
    code: regex.compile(f"{_BEFORE}(?:{'|'.join(normalize('NFC', names).split())})") for code, names in _NAMES.items()
}
_QUOTED = regex.compile(r"[\"“«「『‘`]([^\"“”«»「」『』‘’`\n]{1,200})[\"”»」』’`]")


def languages_named(prompt: str) -> frozenset[str]:
    """Return the languages that a prompt speaks of, such as the one to translate into."""
    folded = normalize("NFC", prompt.casefold())
    return frozenset(code for code, named in _NAMED.items() if named.search(folded))


def words_held(prompt: str, policy: Policy) -> frozenset[str]:
    """Return the foreign words of a prompt that an answer may repeat, in lower case.

    They are all of them where the prompt is written in the language, and those in quotes where it is not: an answer
    that repeats an English prompt has left its language.
    """
    own = prompt
    for pattern in foreign_words(policy):
        own = pattern.sub(" ", own)
    texts = [prompt] if words_in(own) >= len(_found(prompt, policy)) else _QUOTED.findall(prompt)
    return frozenset(word.casefold() for text in texts for word in _found(text, policy))


def foreign_words(policy: Policy) -> list[regex.Pattern[str]]:
    """Return what finds a policy's foreign words."""
    return [*([] if policy.is_latin else [LATIN_WORD]), letters_of(policy).foreign]


def _found(text: str, policy: Policy) -> list[str]:
    return [word for pattern in foreign_words(policy) for word in pattern.findall(text)]
