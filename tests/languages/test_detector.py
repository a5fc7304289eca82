"""Where a text leaves its language."""

from dataclasses import replace
from itertools import pairwise
from typing import Literal
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.provisional import urls

from app.core.errors import InvalidValue
from app.languages.detector import Kind, Verdict, classify, confusions, find_confusion
from app.languages.policies import LANGUAGES, Allowance, policy_for
from app.languages.prompts import languages_named, scripts_named

NATIVE = {
    "ar": "هذه الجملة مكتوبة باللغة العربية وهي واضحة تماما.",
    "de": "Dieser Satz ist auf Deutsch geschrieben und völlig klar.",
    "en": "This sentence is written in English and it is quite clear.",
    "es": "Esta frase está escrita en español y es muy clara.",
    "fr": "Cette phrase est écrite en français et elle est très claire.",
    "hi": "यह वाक्य हिन्दी में लिखा गया है और बिल्कुल स्पष्ट है।",
    "ja": "この文は日本語で書かれています。人々はタワーに登りました。",
    "ko": "이 문장은 한국어로 쓰였고 아주 분명합니다.",
    "ru": "Это предложение написано на русском языке и вполне понятно.",
    "zh": "这个句子是用中文写的，意思非常清楚。",
}
SCRIPTS = {
    "ar": "سلام عليكم",
    "hi": "नमस्ते दुनिया",
    "ja": "日本のカナ々",
    "ko": "안녕하세요",
    "ru": "привет мир",
    "zh": "你好世界",
}
NAMES = {  # in each language that has prompts of its own
    "bg": "البلغارية bulgarisch búlgaro bulgare बल्गेरियाई ブルガリア語 불가리아어 болгарский 保加利亚语",
    "el": "اليونانية griechisch griego grec ग्रीक ギリシャ語 그리스어 древнегреческий 希腊语",
    "he": "العبرية hebräisch hebreo hébreu हिब्रू ヘブライ語 히브리어 иврит 希伯来语",
    "nl": "الهولندية niederländisch neerlandés néerlandais डच オランダ語 네덜란드어 нидерландский 荷兰语",
    "pl": "البولندية polnisch polaco polonais पोलिश ポーランド語 폴란드어 польский 波兰语",
    "th": "التايلاندية thailändisch tailandés thaï थाई タイ語 태국어 тайский 泰语",
    "uk": "الأوكرانية ukrainisch ucraniano ukrainien यूक्रेनी ウクライナ語 우크라이나어 украинский 乌克兰语",
    "zh": "الصينية chinesisch chino chinois चीनी 中国語 중국어 китайский 汉语",
}
SIGNS = "0123456789 \n.,!?()«»—…%😀🇰🇷\ufffd"
OWN = st.sampled_from(sorted(SCRIPTS)).flatmap(
    lambda code: st.tuples(st.just(code), st.text(st.sampled_from(SCRIPTS[code] + SIGNS), max_size=60))
)
MIXED = st.text(st.sampled_from('aZé가語々アقдअß<b>$\\`"“”()\n .1\ufffd\U0001f600'), max_size=80)
SHORT = 6  # fewer letters than the identifier is asked about


def kinds(text: str, language: str, *, strict: bool = False, prompt: str = "") -> list[tuple[str, str]]:
    return [(one.text, str(one.kind)) for one in confusions(text, policy_for(language, strict=strict), prompt)]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("language", NATIVE)
def test_a_sentence_in_its_language_is_clean_and_in_every_other_script_it_is_not(language: str, strict: bool) -> None:
    policy = policy_for(language, strict=strict)
    others = [other for other in NATIVE if policy_for(other).scripts.isdisjoint(policy.scripts)]
    ignored = set() if strict or policy.is_latin else {"en"}

    assert confusions(NATIVE[language], policy) == []
    assert [other for other in others if not confusions(NATIVE[other], policy)] == sorted(ignored & set(others))


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("ko", "이것은 AI 기술입니다.", [("AI", "unit_or_acronym")]),
        ("ko", "화면은 3D 입니다.", [("D", "unit_or_acronym")]),
        ("ko", "<b>굵은</b> 글자", [("<b>", "markup"), ("</b>", "markup")]),
        ("ko", "오늘은 machine learning 입니다.", [("machine learning", "latin_word")]),
        ("ko", "오늘은 встреча 입니다.", [("встреча", "script")]),
        ("ko", "안녕하세요.\nThis line is in English only.", [("This line is in English only", "line")]),
        ("ko", "We do not know the answer.\nNobody does.", [("We do not know the answer.\nNobody does", "answer")]),
        ("fr", "Il fait beau.\nThis line is in English only.", [("This line is in English only", "line")]),
        ("ja", "私は这里で働く。", [("这", "script")]),
        ("zh", "我们去公园。これは", [("これは", "script")]),
    ],
)
def test_a_stretch_is_found_with_its_kind(language: str, text: str, found: list[tuple[str, str]]) -> None:
    if found[-1][1] == "script" and language == "ja":
        found = [("这里", "script")] if classify("里", policy_for("ja")) is Verdict.OFF else found

    assert kinds(text, language, strict=True) == found


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ko", "한국(韓國)의 수도는 서울이다. (韓"),
        ("ko", "이순신(李舜臣, 1545년 4월 28일 ~ 1598년 12월 16일)은 조선 중기의 무신이다."),
        ("ko", "세종(世宗, 재위 1418년~1450년)은 조선의 왕이다. 유관순(柳寬順, 1902년"),
        ("ko", "이순신(李舜臣, 1545년 4월 28일(음력 3월 8일) ~ 1598년 12월 16일(음력 11월 19일))은 무신이다."),
        ("ko", "김구(金九, 1876년 8월 29일 (음력 7월 11일) ~ 1949년 6월 26일)는 독립운동가이다."),
        ("ko", "이황(李滉, 1501년 ~ 1570년, 호(號)는 퇴계(退溪))은 학자이다. 김구(金九, 1876년 8월 (음력"),
        ("ko", "서울(옛 이름: 漢城, 漢陽)은 수도이다."),
        ("ja", "人々は時々、東京タワーへ行く。ＡＩ"),
        ("ja", "髙橋さんは髙島屋で働いています。"),
        ("ko", "거리는 5 km, 온도는 20 °C, 속도는 90 km/h 입니다."),
        ("ko", "거리는 5\u00a0km, 6\u2009km, 7\u202fkm 입니다."),
        ("ko", "혈압은 120 mmHg, 혈당은 5.5 mmol/L, 맥박은 60 bpm, 용량은 5 mg/kg/day 와 400 IU 입니다."),
        ("ko", "발전량은 3 GWh, 출력은 2 MWh, 전국은 5 TWh 이고 타이어는 32 psi 입니다."),
        ("ko", "힘은 3 kN, 회전력은 20 N·m, 관성은 2 kg·m², 전하는 5 A·h 이고 시간은 10 ns, 5 μs, 5 µs 입니다."),
        ("ko", "축전기는 10 μF, 4 pF, 2 nF 이고 자기장은 5 mT 입니다."),
        ("ko", "선량은 2 mSv, 1 Sv, 방사능은 3 Bq, 에너지는 4 eV, 5 keV, 6 MeV 입니다."),
        ("ko", "밝기는 800 lm, 500 lx, 3 cd 이고 기압은 980 mbar, 1 atm, 신호는 -70 dBm 입니다."),
        ("ko", "나트륨은 140 mEq, 속도는 1 Gbit/s, 64 kbit/s, 100 Mbit/s 입니다."),
        ("ko", "값은 1,000원/kg 이고 3만원/L, 키는 180CM, 60KG, 용량은 3 GiB 입니다."),
        ("ja", "距離は10ｋｍ、速さは６０ ｋｍ／ｈ、値段は500円/kgです。"),
        ("ko", "주소는 https://example.com/a?b=c 와 example.org, 메일은 a.b@example.com 입니다."),
        ("ko", "명령은 `git push` 입니다.\n```python\nprint('hello')\n```"),
        ("ko", "식은 $E = mc^2$ 와 \\(a + b\\) 와 \\frac{a}{b} 이고 α 값입니다."),
        ("ko", "그는 “Hello there” 라고 말했다."),
        ("ko", "'Hello'는 인사말이고 '생일'은 'birthday'이다. 노래 'Don't Look Back in Anger'도 있다."),
        ("ko", "논문은 《Nature》에, 〈Hello〉는 ‹Science›에 실렸다."),
        ("ja", "論文は〈Nature〉誌に載った。"),
        ("zh", "《Harry Potter》很好看。"),
        ("de", "Er sagte „Привет, друзья“ und ging."),
        ("de", "Er sagte »Привет, друзья« und ging. Das Wort ›мир‹ heißt ‚Frieden‘, und ‚мир‘ auch."),
        ("ja", "Ⅲ. 結論をここに書きます。"),
        ("ko", "제Ⅱ차 세계 대전"),
        ("ko", "기온은 25ºC입니다."),
        ("ko", "제 2º 구역"),
        ("en", "The word 'café' comes from French, as does naïve."),
        ("zh", "1234 —— 😀"),
        ("hi", "१२३ और 456।"),
    ],
)
def test_what_a_language_lets_stand_is_let_through(language: str, text: str) -> None:
    assert kinds(text, language, strict="ＡＩ" not in text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("값은 lm 입니다.", "lm"),
        ("차는 5 lmno 입니다.", "lmno"),
        ("차는 5 nsx 입니다.", "nsx"),
        ("값은 5 km·weather 입니다.", "weather"),
        ("값은 5\u00a0\u00a0km 입니다.", "km"),
        ("사과/kg 입니다.", "kg"),
        ("1,000원 kg 입니다.", "kg"),
        ("10ｋｍｓｑ 입니다.", "ｋｍｓｑ"),
    ],
)
def test_a_unit_stands_after_a_number_and_begins_no_word(text: str, found: str) -> None:
    assert [one for one, _ in kinds(text, "ko", strict=True)] == [found]


@pytest.mark.parametrize(
    "text",
    [
        "한국 韓國 만세",
        "그는 (오늘 天氣 좋다) 말했다",
        "세종(조선)의 世宗, 재위",
        "그는 (오늘(아침) 天氣 좋다) 말했다",
        "그는 ((오늘) 天氣 좋다) 말했다",
    ],
)
def test_hanja_that_are_no_gloss_of_their_own_are_off(text: str) -> None:
    assert [kind for _, kind in kinds(text, "ko")] == ["script"]


def test_a_bracket_inside_a_gloss_is_judged_by_itself() -> None:
    assert kinds("이순신(李舜臣(Yi), 1545년)은 무신이다.", "ko", strict=True) == [("Yi", "latin_word")]


@pytest.mark.parametrize("allowance", Allowance)
def test_each_allowance_can_be_taken_away(allowance: Allowance) -> None:
    policy = policy_for("ko", strict=True)
    texts = {
        Allowance.URLS: "주소는 https://example.com 입니다",
        Allowance.EMAIL: "메일은 ada@example.uk 입니다",
        Allowance.CODE: "명령은 `push` 입니다",
        Allowance.LATEX: "식은 \\alpha 입니다",
        Allowance.UNITS: "거리는 5 km 입니다",
        Allowance.QUOTES: "그는 “Hello” 라고 했다",
        Allowance.PROMPT: "그는 Lovelace 입니다",
    }
    prompt = "Lovelace 는 누구입니까?"
    without = replace(policy, allowed=policy.allowed - {allowance})

    assert confusions(texts[allowance], policy, prompt) == []
    assert confusions(texts[allowance], without, prompt) != []


def test_an_answer_may_repeat_the_foreign_words_of_a_prompt_in_its_language() -> None:
    asked = "Kubernetes 는 무엇입니까?"

    assert kinds("kubernetes 는 도구입니다.", "ko", strict=True, prompt=asked) == []
    assert kinds("Docker 는 도구입니다.", "ko", strict=True, prompt=asked) == [("Docker", "latin_word")]


@pytest.mark.parametrize(
    ("language", "prompt", "text"),
    [
        ("zh", "Python和Java有什么区别？", "Python和Java都是编程语言。"),
        ("ja", "PythonとJavaの違いは何ですか？", "PythonとJavaはどちらも言語です。"),
    ],
)
def test_words_are_counted_in_a_prompt_without_blanks_too(language: str, prompt: str, text: str) -> None:
    assert kinds(text, language, strict=True, prompt=prompt) == []
    assert kinds(text, language, strict=True) != []


def test_an_answer_that_repeats_an_english_prompt_has_left_its_language() -> None:
    assert kinds("What is the bridge made of?", "ko", strict=True, prompt="What is the bridge made of?") != []


@pytest.mark.parametrize(
    ("language", "prompt", "text"),
    [
        ("ko", "다음을 영어로 번역하세요: 안녕", "Hello, how are you doing today?"),
        ("ko", "일본어로 인사해 주세요.", "こんにちは、元気ですか"),
        ("fr", "Traduis en anglais : bonjour.", "Hello, how are you doing today, my friend?"),
        ("en", "Translate 'bridge' into Russian.", "The word is мост."),
        ("de", "Schreibe das Wort „Frieden“ auf Hebräisch.", "Das Wort ist שלום."),
        ("fr", "Comment dit-on merci en ukrainien ?", "On dit дякую."),
        ("es", "¿Cómo se dice gracias en tailandés?", "Se dice ขอบคุณ."),
        ("zh", "用日語怎麼說謝謝？", "日語的「謝謝」是ありがとう。"),
        ("zh", "請翻譯成韓文：你好", "안녕하세요"),
        ("zh", "用俄語寫「和平」。", "俄語寫作мир。"),
        ("zh", "用希臘語、泰語和希伯來語問好。", "Γεια σου 和สวัสดี和שלום。"),
        ("zh", "請用阿拉伯語說「和平」。", "是سلام。"),
        ("zh", "用印地語怎麼問好？", "是नमस्ते。"),
        ("zh", "用烏克蘭語怎麼說謝謝？", "是дякую。"),
        ("zh", "請翻譯成法語：你好，我的朋友。", "Bonjour, mon ami, comment allez-vous aujourd'hui ?"),
        ("zh", "翻譯成西班牙語：早安，朋友們。", "Buenos días, amigos, ¿cómo están todos hoy?"),
        ("zh", "翻譯成義大利語：早安，朋友們。", "Buongiorno, amici miei, come state tutti oggi?"),
        ("zh", "翻譯成葡萄牙語：早安，朋友們。", "Bom dia, meus amigos, como vocês estão hoje?"),
        ("zh", "翻譯成越南語：早安，朋友們。", "Chào buổi sáng, các bạn của tôi, hôm nay thế nào?"),
        ("zh", "翻譯成荷蘭語：早安，朋友們。", "Goedemorgen, vrienden, hoe gaat het vandaag met jullie?"),
        ("zh", "翻譯成波蘭語：早安，朋友們。", "Dzień dobry, drodzy przyjaciele, jak się macie?"),
        ("zh", "翻譯成印尼語：早安，朋友們。", "Selamat pagi, teman-teman, apa kabar kalian hari ini?"),
        ("zh", "翻譯成土耳其語：早安，朋友們。", "Günaydın arkadaşlar, bugün hepiniz nasılsınız bakalım?"),
        ("ar", "كيف أقول مرحبا بالالمانية؟", "Guten Tag, meine lieben Freunde, wie geht es?"),
        ("ar", "ترجم للإنجليزية: صباح الخير.", "Good morning, my friends, how are you?"),
        ("ja", "英訳してください：今日は晴れです。", "The weather is very fine today."),
        ("ko", "영문으로 바꿔 주세요: 안녕, 친구야.", "Hello, my friend, how are you doing?"),
        ("ko", "불어로 인사해 주세요.", "Bonjour, mon ami, comment allez-vous ?"),
        ("ko", "일어로 인사해 주세요.", "こんにちは、元気ですか"),
        ("hi", "इसे इंग्लिश में लिखिए: सुप्रभात, दोस्तों।", "Good morning, my friends, how are you?"),
        ("hi", "इसे फ़्रेंच में लिखिए: सुप्रभात।", "Bonjour, mes amis, comment allez-vous ?"),
        ("hi", "इसे फ्रांसीसी में लिखिए: सुप्रभात।", "Bonjour, mes amis, comment allez-vous ?"),
        ("en", "次の文を和訳してください: hello", "It is こんにちは."),
        ("ru", "Переведи на польский: доброе утро, друзья.", "Dzień dobry, drodzy przyjaciele, jak się macie?"),
        ("ja", "「ありがとう」は中国語で何と言いますか？", "中国語では谢谢と言います。"),
        ("ja", "中国語に訳してください：はじめまして", "很高兴认识你"),
        ("ko", "'대한민국'을 한자로 쓰면?", "大韓民國"),
        ("ko", "천자문의 첫 구절을 한자로 써 주세요.", "天地玄黃 宇宙洪荒 日月盈昃 辰宿列張"),
        ("ko", "'빨리빨리'를 로마자로 적으면?", "로마자로는 ppalli ppalli 입니다."),
        ("ja", "「桜」をローマ字で書いてください。", "sakura"),
        ("zh", "“熊猫”的拼音怎么写？", "拼音是xióngmāo。"),
        ("ru", "Напишите латиницей «Владивосток».", "Vladivostok"),
        ("ru", "Как это пишется латинскими буквами?", "Vladivostok"),
        ("hi", "इसे रोमन अक्षरों में लिखिए।", "Namaste"),
        ("ar", "اكتب الاسم بالأحرف اللاتينية.", "Fatima"),
    ],
)
def test_an_answer_may_be_in_a_language_or_script_that_the_prompt_names(language: str, prompt: str, text: str) -> None:
    assert kinds(text, language, strict=True, prompt=prompt) == []
    assert kinds(text, language, strict=True) != []


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("code", NAMES)
def test_a_language_is_asked_for_by_its_name_in_every_language_with_prompts(
    code: str, form: Literal["NFC", "NFD"]
) -> None:
    names = [languages_named(normalize(form, f"— {name}!").upper()) for name in NAMES[code].split()]

    assert names == [{code}] * 9


@pytest.mark.parametrize(
    ("language", "prompt", "text"),
    [
        ("ru", "Когда началась Великая французская революция?", "The French Revolution began in 1789 in Paris."),
        ("ar", "متى بدأت الثورة الفرنسية؟", "The French Revolution began in 1789 in Paris."),
        ("hi", "फ्रेंच क्रांति कब हुई?", "The French Revolution began in 1789 in Paris."),
        ("ko", "일본어는 누가 쓰나요?", "我今天去北京参观故宫博物院非常有意思"),
        ("ru", "Напишите латиницей «Париж».", "The French Revolution began in 1789 in Paris."),
        ("es", "¿Qué son los pantalones chinos?", "这是一双鞋子，非常好看，我很喜欢。"),
        ("de", "Was sind Chinos?", "这是一双鞋子，非常好看，我很喜欢。"),
    ],
)
def test_a_prompt_that_names_a_language_or_script_asks_for_no_other(language: str, prompt: str, text: str) -> None:
    assert [kind for _, kind in kinds(text, language, strict=True, prompt=prompt)] == ["answer"]


@pytest.mark.parametrize(
    "text",
    [
        "Wann wurde die chinesische Mauer gebaut?",
        "die Grammatik des Chinesischen",
        "¿Cómo se escribe «paz» en caracteres chinos?",
        "une phrase chinoise",
        "três palavras chinesas",
        "ideogrammi cinesi",
    ],
)
def test_a_name_is_known_by_its_endings(text: str) -> None:
    assert languages_named(text) == {"zh"}


@pytest.mark.parametrize(
    "text",
    [
        "Bertrand Russell",
        "Was ist Germanium?",
        "Turcotte",
        "Die Hauptstadt Chinas und die von Deutschland",
        "la capital de China",
        "Thailand",
        "Frances",
        "阿拉伯数字",
        "西班牙在哪里？",
        "Севастопольский порт",
        "स्थाई पता",
        "介绍一下中国书法文化",
        "中国有哪些传统节日文化",
        "什么是道德文明",
        "立法文件",
        "语法文档",
        "今日文章",
        "今日语录",
        "5月1日语音",
        "节日文案",
        "無法語音輸入",
        "希腊文明",
        "阿拉伯文化",
        "葡萄牙文学",
        "荷兰文化",
        "무슨 영문인지 영문도 모르고 영문을 모르겠다.",
        "운영문제, 수영문화",
        "바람이 불어서 일어나 보니 통일어로",
        "중국어선 불법조업",
        "중국어민",
        "한자리에 모인 한자동맹, 무한자원",
        "한문제만 한문장으로",
        "일본어업",
        "Какая столица Португалии?",
        "जर्मनी की राजधानी",
        "थाईलैंड में",
    ],
)
def test_a_word_that_only_holds_a_languages_name_names_none(text: str) -> None:
    assert languages_named(text) == frozenset()


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("拼音", "Latin"),
        ("声母字母", "Latin"),
        ("希腊字母", "Greek"),
        ("俄语字母", "Cyrillic"),
        ("латинская Америка", ""),
    ],
)
def test_letters_are_latin_unless_their_language_is_named(text: str, script: str) -> None:
    assert scripts_named(text) == {*filter(None, [script])}


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("fr", "请用法语写"),
        ("fr", "法文翻译"),
        ("fr", "英语法语"),
        ("ja", "请用日文回答"),
        ("ja", "日语文章"),
        ("ja", "일본어를"),
        ("ja", "일본어선생님"),
        ("de", "德语"),
        ("en", "英文学习"),
        ("en", "英文案例"),
        ("zh", "중국어로"),
        ("zh", "중국어업무"),
        ("pt", "португальского"),
        ("de", "जर्मन में"),
    ],
)
def test_a_name_is_known_before_whatever_else_follows(code: str, text: str) -> None:
    assert code in languages_named(text)


def test_quotation_marks_around_the_whole_answer_hide_nothing() -> None:
    assert kinds('"We do not know the answer."', "ko", strict=True)[0][1] == "answer"


def test_an_apostrophe_ends_no_quotation() -> None:
    assert kinds("노래 ‘Don’t Look Back in Anger’는 유명하다.", "ko", strict=True) == []
    assert kinds("‘AI’는 ‘IT’와 hello", "ko", strict=True) == [("hello", "latin_word")]
    assert kinds("‘AI’s hello ‘IT’는", "ko", strict=True) == [("s hello", "latin_word")]
    assert kinds("'AI'는 'IT'와 hello", "ko", strict=True) == [("hello", "latin_word")]
    assert kinds("'AI's hello 'IT'는", "ko", strict=True) == [("AI's hello", "latin_word")]
    assert kinds("그는 don't 와 l'eau 를 말했다.", "ko", strict=True) == [
        ("don't", "latin_word"),
        ("l'eau", "latin_word"),
    ]
    assert kinds("그 '90s 음악과 hits' 음악", "ko", strict=True) != []
    assert kinds("C'est l'heure d'aller à l'école привет aujourd'hui.", "fr") == [("привет", "script")]
    assert kinds("The dogs' food, the '90s and привет cats' food.", "en") == [("привет", "script")]


def test_marks_that_point_inwards_quote_in_german_alone() -> None:
    assert kinds("Il dit «oui» привет «non».", "fr") == [("привет", "script")]
    assert kinds("Он сказал «да» hello «нет».", "ru", strict=True) == [("hello", "latin_word")]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ru", "Це речення написане українською мовою дуже добре."),
        ("ar", "این یک جمله فارسی است که برای آزمایش نوشته شده است"),
        ("ja", "我今天去北京参观故宫博物院非常有意思"),
        ("ko", "Je ne sais pas ce que vous voulez dire par là."),
    ],
)
def test_a_line_of_a_neighbour_in_the_same_letters_is_told_by_identification(language: str, text: str) -> None:
    assert [kind for _, kind in kinds(text, language)] == ["answer"]


@pytest.mark.parametrize(
    "line",
    [
        "材料：鶏肉、玉葱、人参、醤油、砂糖、塩、胡椒",
        "材料：牛肉、玉葱、人参、砂糖、胡椒、生姜、大根",
        "魚介類：鮭、鯖、鯛、鮪、海老、蟹、烏賊、蛸、貝、昆布、若布",
        "第一段階：準備運動、第二段階：基礎練習、第三段階：応用練習",
    ],
)
def test_a_japanese_line_without_kana_is_no_chinese_one(line: str) -> None:
    assert kinds(line, "ja") == []
    assert kinds(f"肉じゃがの作り方です。\n{line}\n鍋に入れます。", "ja") == []


@pytest.mark.parametrize(
    "line", ["我今天去北京参观故宫博物院非常有意思", "每天早上設定目標，讓自己有方向感，學習新知識、新經驗、新風格"]
)
def test_a_chinese_line_is_told_between_japanese_ones(line: str) -> None:
    assert kinds(f"朝の過ごし方です。\n{line}。\nがんばりましょう。", "ja") == [(line, "line")]


def test_neutral_ignores_english_and_names_but_no_other_words_in_latin_letters() -> None:
    assert kinds("São Paulo 의 hello 와 déjà vu", "ko") == [("déjà", "latin_word")]


def test_the_first_stretch_comes_first() -> None:
    first = find_confusion("안녕 привет 친구 hello", policy_for("ko", strict=True))

    assert first is not None
    assert (first.start, first.end, first.kind, first.text) == (3, 9, Kind.SCRIPT, "привет")


def test_half_a_character_at_the_end_is_no_confusion() -> None:
    assert kinds("안녕하세\ufffd", "ko", strict=True) == []


@settings(deadline=None)
@given(OWN, st.booleans())
def test_a_languages_own_letters_are_clean_with_any_signs(own: tuple[str, str], strict: bool) -> None:
    language, text = own
    short = "\n".join(line[:SHORT] for line in text.split("\n"))

    assert confusions(short, policy_for(language, strict=strict)) == []


@settings(deadline=None)
@given(OWN, st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=3, max_size=12))
def test_an_ascii_word_is_a_confusion_in_strict_and_none_in_neutral(own: tuple[str, str], word: str) -> None:
    language, text = own
    before = "\n".join(line[:SHORT] for line in text.split("\n") if line).translate(
        str.maketrans("", "", "0123456789«»()")
    )
    spoilt = f"{before} {word} {SCRIPTS[language]}"

    assert confusions(spoilt, policy_for(language)) == []
    assert [one.text for one in confusions(spoilt, policy_for(language, strict=True))] == [word]


@settings(deadline=None)
@given(OWN, urls())
def test_an_address_is_never_a_confusion(own: tuple[str, str], url: str) -> None:
    language, text = own
    short = "\n".join(line[:SHORT] for line in text.split("\n"))

    assert confusions(f"{short} {url} {SCRIPTS[language]}", policy_for(language, strict=True)) == []


@settings(deadline=None, max_examples=300)
@given(MIXED | st.text(max_size=80), st.sampled_from(LANGUAGES), st.booleans(), MIXED)
def test_stretches_point_into_the_raw_text_in_order(text: str, language: str, strict: bool, prompt: str) -> None:
    found = confusions(text, policy_for(language, strict=strict), prompt)

    assert all(one.text == text[one.start : one.end] and one.text for one in found)
    assert all(one.end <= two.start for one, two in pairwise(found))
    assert find_confusion(text, policy_for(language, strict=strict), prompt=prompt) == (found[0] if found else None)


@settings(deadline=None)
@given(st.text(max_size=12), st.sampled_from(LANGUAGES), st.booleans())
def test_every_fragment_gets_a_verdict_and_none_without_letters_is_off(text: str, language: str, strict: bool) -> None:
    verdict = classify(text, policy_for(language, strict=strict))

    assert verdict in Verdict
    if not any(one.isalpha() for one in text) and text.isascii():
        assert verdict is Verdict.NEUTRAL


@pytest.mark.parametrize("text", ["", " ", "12", "?!", "😀", "\ufffd", "\ufffd\ufffd", "ー", "\u0301", "\n"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_fragment_without_letters_is_neutral(language: str, text: str) -> None:
    assert classify(text, policy_for(language, strict=True)) is Verdict.NEUTRAL


@pytest.mark.parametrize(
    ("language", "strict", "text", "verdict"),
    [
        ("ko", True, " the", "off"),
        ("ko", False, " the", "neutral"),
        ("ko", False, "é", "off"),
        ("ko", False, "는", "target"),
        ("ko", False, "는 the", "target"),
        ("ja", False, "々", "target"),
        ("ko", False, "々", "off"),
        ("hi", False, "ि", "target"),
        ("en", True, " the", "target"),
        ("en", False, "д", "off"),
    ],
)
def test_a_fragment_is_judged_by_its_letters(language: str, strict: bool, text: str, verdict: str) -> None:
    assert classify(text, policy_for(language, strict=strict)) == verdict


def test_an_unknown_language_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidValue, match="'xx' is not known: name one of ar, bg"):
        policy_for("xx")
