"""What a prompt lets its answer say in another language: languages and scripts that it names, the words it holds."""

from unicodedata import normalize

import regex

from app.languages.letters import LATIN_WORD, letters_of
from app.languages.policies import LATIN, Policy, policy_for
from app.languages.words import words_in

# how languages are called, in each other: in Latin letters with their endings, but for German ones, and without those
# that are names of countries or things (China, Chinas, chinos); in scripts with cases a name stands without its ending
_NAMES = {
    "ar": "arabic arabes? árabes? arabisch arab[oai] арабск عربي العربية अरबी 아랍어 アラビア語 阿拉伯[语語文]",
    "bg": "bulgarian bulgares? búlgar[oa]s? bulgarisch bulgar[oa]"
    " болгарск البلغارية बल्गेरियाई 불가리아어 ブルガリア語 保加利[亚亞][语語文]",
    "de": "german allemande?s? alemán aleman[ae]s? alemã(?:o|es|s)? deutsch tedesc(?:[oa]|h[ie])"
    " немецк ال[أا]لمانية जर्मन(?!ी) 독일어 독어[로를] ドイツ語 (?<![道品公美])德[语語文]",
    "el": "greek grec(?:que)?s? grieg[oa]s? greg[oa]s? griechisch grec(?:[oai]|he)"
    " греческ древнегреческ اليونانية यूनानी ग्रीक 그리스어 ギリシャ語 希[腊臘](?:[语語文]|字母)",
    "en": "english anglaise?s? inglés inglês ingles[aei]s? englisch"
    " английск ال[إا]نجليزية? अंग्रेज़ी अंग्रेजी इंग्लिश 영어 영문(?!도|학|을.[모알]|.모를|인지)"
    " 英[语語文] 英[译譯訳] 中[译譯]英",
    "es": "spanish espagnole?s? español(?:[ae]s?)? espanhol(?:as?)? espanhóis spanisch spagnol[oaie]"
    " испанск ال[إا]سبانية स्पेनिश 스페인어 スペイン語 西班牙[语語文]",
    "fr": "french français(?:es?)? francés francês frances[aei]s? französisch"
    " французск الفرنسية फ्रेंच फ़्रेंच फ्रांसीसी फ़्रांसीसी 프랑스어 불어[로를]"
    " フランス語 (?<![书書立宪憲执執司方办辦无無])法[语語文]",
    "he": "hebrew hébreux? hébraïques? hebre[oa]s? hebraic[oa]s? hebräisch ebraic[oa]"
    " иврит العبرية हिब्रू इब्रानी 히브리어 ヘブライ語 希伯[来來]",
    "hi": "hindi хинди الهندية हिंदी हिन्दी 힌디어 ヒンディー語 印地[语語文]",
    "id": "indonesian indonésien(?:ne)?s? indonesios? indonésio indonesisch indonesiano"
    " индонезийск ال[إا]ندونيسية इंडोनेशियाई 인도네시아어 インドネシア語 (?:印尼|印度尼西[亚亞])[语語文]",
    "it": "italian italien(?:ne)?s? italian[oaie]s? italienisch"
    " итальянск ال[إا]يطالية इतालवी 이탈리아어 イタリア語 [意義义]大利[语語文]",
    "ja": "japanese japonaise?s? japonés japonês japones[ae]s? japanisch giappones[ei]"
    " японск اليابانية जापानी 일본어 일어[로를]"
    r" 日本[语語] 和訳 (?<![今昨明每节節假生近\d])日[语語文]",
    "ko": "korean coréen(?:ne)?s? corean[oaie]s? koreanisch корейск الكورية कोरियाई 한국어 한국말"
    " [韩韓](?:[国國]?[语語]|文)",
    "nl": "dutch néerlandaise?s? neerlandés neerlandês neerlandes[ae]s? holandés holandês holandes[ae]s?"
    " niederländisch holländisch olandes[ei] нидерландск голландск الهولندية डच 네덜란드어 オランダ語 荷[兰蘭][语語文]",
    "pl": "polish polonaise?s? polac[oa]s? polonês polones[ae]s? polnisch polacc[oa]"
    " польск البولندية पोलिश 폴란드어 ポーランド語 波[兰蘭][语語文]",
    "pt": "portuguese portugaise?s? portugués português portugues[ae]s? portugiesisch portoghes[ei]"
    " португальск البرتغالية पुर्तगाली 포르투갈어 ポルトガル語 葡萄牙[语語文]",
    "ru": "russian russes? rus[oa]s? russ[oa]s? russisch русск الروسية रूसी 러시아어 ロシア語 俄[语語文]",
    "th": "thai thaïe?s? thaïlandaise?s? tailandés tailandês tailandes[aei]s? thailändisch thailandes[ei]"
    " тайск التايلاندية थाई(?!ल) 태국어 タイ語 泰[语語文]",
    "tr": "turkish turcs? turques? turc[oa]s? türkisch турецк التركية तुर्की 터키어 튀르키예어 トルコ語 土耳其[语語文]",
    "uk": "ukrainian ukrainien(?:ne)?s? ucranian[oa]s? ukrainisch ucrain[oa]"
    " украинск ال[أا]وكرانية यूक्रेनी 우크라이나어 ウクライナ語 [乌烏]克[兰蘭][语語文]",
    "vi": "vietnamese vietnamien(?:ne)?s? vietnamitas? vietnamesisch"
    " вьетнамск الفيتنامية वियतनामी 베트남어 ベトナム語 越南[语語文]",
    "zh": "chinese chinois(?:es?)? chino caracteres.chinos chinês chines[ae]s? chinesisch cines[ei]"
    " китайск الصينية चीनी 중국어 한자(?![리동루락]) 한문(?![제장단항]) 中[国國][语語] 中文 [汉漢][语語]",
}
_LATIN = (
    "로마자 알파벳 ローマ字 アルファベット 拼音 (?<![语語文腊臘])字母 латиниц латинск[а-я]{1,3}.букв"
    " रोमन.अक्षर (?:أ?حرف|حروف).(?:أجنبية|ال?لاتينية)"
)
_BEFORE = (
    r"(?<![\p{Latin}\p{Cyrillic}\p{Devanagari}])"  # scripts whose words stand alone: китайский names no Thai
    r"(?!(?<=\p{Hangul})(?:독어|불어|영문|일어|한문|한자))"  # nor does 운영문 name English
)
_AFTER = (
    r"(?!(?<=\p{Latin})\p{Latin}"  # nor does Russell name Russian
    r"|(?<=文)(?:[化明章件档檔献獻艺藝物]|[学學](?![习習校])|案(?!例))|(?<=[语語])[录錄义義]"  # 葡萄牙文学: no language
    r"|(?<=어)(?:[민촌린]|선(?![생택])|업(?!무)))"  # 중국어선: a ship
)


def _named(names: str) -> regex.Pattern[str]:
    inflected = regex.sub(r"sch(?=\s)", "sch(?:e[mnrs]?)?", normalize("NFC", names))  # on German names
    inflected = regex.sub(r"(?<=\s)ال", "[ال]ل", inflected)  # للفرنسية: into French
    return regex.compile(f"{_BEFORE}(?:{'|'.join(inflected.split())}){_AFTER}")


_NAMED = {code: _named(names) for code, names in _NAMES.items()}
_LATIN_NAMED = _named(_LATIN)
_QUOTED = regex.compile(r"[\"“«「『‘`]([^\"“”«»「」『』‘’`\n]{1,200})[\"”»」』’`]")


def languages_named(prompt: str) -> frozenset[str]:
    """Return the languages that a prompt speaks of, such as the one to translate into."""
    folded = normalize("NFC", prompt.casefold())
    return frozenset(code for code, named in _NAMED.items() if named.search(folded))


def scripts_named(prompt: str) -> frozenset[str]:
    """Return the scripts of the languages that a prompt names, and Latin where it asks for letters of that."""
    latin = {LATIN} if _LATIN_NAMED.search(normalize("NFC", prompt.casefold())) else frozenset[str]()
    return frozenset[str]().union(latin, *[policy_for(language).scripts for language in languages_named(prompt)])


def labels_asked(prompt: str) -> frozenset[str]:
    """Return what the identifier may call a line in a language that a prompt names."""
    return frozenset().union(*[policy_for(language).labels for language in languages_named(prompt)])


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
