"""Cutting text into sentences."""

import re
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.grounding import normalise
from app.core.sentences import _ABBREVIATION, sentences, title_of, unwrapped

_END = re.compile(r"(?:[.!?…؟۔।॥]+[\"'”’)\]»]*\s+(?=\S)|[。！？｡]+[」』”’）]*)")


def plainly_cut(line: str) -> list[str]:
    """Cut a line that is a paragraph, with all of it looked at for each stop: `sentences` in plain words."""
    line = re.sub(r"[ \t]{2,}", " ", re.sub(r"(?<![A-Za-z0-9])(?:\*\*|__)|(?:\*\*|__)(?![A-Za-z0-9])", "", line))
    parts, start = [], 0
    for match in _END.finditer(line):
        begun, after = line[start : match.end()].rstrip(), line[match.end() :].lstrip("\"'“‘([«")
        if not _ABBREVIATION.search(begun) and not after[:1].islower():
            parts.append(begun)
            start = match.end()
    return [part.strip() for part in [*parts, line[start:]] if normalise(part)]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("One is 3.5 m. Two is not.", ["One is 3.5 m. Two is not."]),  # "m." may be an initial: together loses nothing
        ("It opened in 1931. The cost was €40.50. Why?", ["It opened in 1931.", "The cost was €40.50.", "Why?"]),
        ("Dr. J. Tarrel came, e.g. by boat. He left.", ["Dr. J. Tarrel came, e.g. by boat.", "He left."]),
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ("Open from 8:30 to 18:00. On Sundays it is shut.", ["Open from 8:30 to 18:00.", "On Sundays it is shut."]),
        ("Am 5. Mai kam er. Dann ging er.", ["Am 5. Mai kam er.", "Dann ging er."]),
        ("東京です。「はい。」次です！", ["東京です。", "「はい。」", "次です！"]),
        ("Он ушёл. Потом пришёл.", ["Он ушёл.", "Потом пришёл."]),
        (
            "नाव का टिकट 12 यूरो का है। द्वीप पर 240 लोग हैं। नाव कब चलती है?",
            ["नाव का टिकट 12 यूरो का है।", "द्वीप पर 240 लोग हैं।", "नाव कब चलती है?"],
        ),
        ("متى تبحر؟ تبحر غدا.", ["متى تبحر؟", "تبحر غدا."]),
        ("کشتی کل چلے گی۔ وہ رکے گی۔", ["کشتی کل چلے گی۔", "وہ رکے گی۔"]),
        ("A line that wraps\nonto the next.", ["A line that wraps onto the next."]),
        ("# Title\nText follows here.", ["Title", "Text follows here."]),
        (
            "Opening times\nThe harbour is open from Monday to Friday.",
            ["Opening times", "The harbour is open from Monday to Friday."],
        ),
        ("- One dog.\n- Two\n  cats.\n3) Three", ["One dog.", "Two cats.", "Three"]),
        ("| Name | Age |\n| --- | --- |\n| Bob | 3 |", ["Name | Age", "Bob | 3"]),
        ("**Bold** words.\n\n***\n\n", ["Bold words."]),
        ("It holds 2**8 of my__kind, **all told**.", ["It holds 2**8 of my__kind, all told."]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, cut: list[str]) -> None:
    assert sentences(text) == cut


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("1. Open the valve\n2. Close\n   the lid\n3. Go home", ["Open the valve", "Close the lid", "Go home"]),
        ("9) Open it.\n\n   - slowly\n\n10) Close it.\n10) Lock it.", ["Open it.", "slowly", "Close it.", "Lock it."]),
        ("# 1. Tarn\n1. Introduction\n\nIt begins.\n\n2. Method", ["1. Tarn", "Introduction", "It begins.", "Method"]),
        ("12. Dezember 1931: Die Brücke wird eröffnet.", ["12. Dezember 1931: Die Brücke wird eröffnet."]),
        (
            "2. Mai 1931: Eröffnung der Brücke\n3. Mai 1932: Hochwasser\n7. Juni: Neubau",
            ["2. Mai 1931: Eröffnung der Brücke", "3. Mai 1932: Hochwasser", "7. Juni: Neubau"],
        ),
        ("1. Uruguay 1930\n2. West Germany 1954", ["1. Uruguay 1930", "2. West Germany 1954"]),
        ("1. FC Köln wurde 1948 gegründet.", ["1. FC Köln wurde 1948 gegründet."]),
        (
            "Die Brücke wurde nach langer Bauzeit schließlich am\n12. Dezember 1931 von Ilse Brandt eröffnet.",
            ["Die Brücke wurde nach langer Bauzeit schließlich am 12. Dezember 1931 von Ilse Brandt eröffnet."],
        ),
        (
            "The team from Tarn scored well and won the match by\n12. Then everybody left the stadium and went home.",
            ["The team from Tarn scored well and won the match by 12. Then everybody left the stadium and went home."],
        ),
        (
            "The bridge of Tarn is told of elsewhere (see page\n12) and was built in 1931 by Ilse Brandt of Velmark.",
            ["The bridge of Tarn is told of elsewhere (see page 12) and was built in 1931 by Ilse Brandt of Velmark."],
        ),
    ],
)
def test_a_number_is_a_mark_where_its_neighbour_is_one_too_and_else_a_part_of_the_sentence(
    text: str, cut: list[str]
) -> None:
    assert sentences(text) == cut


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("It opened in 1931.[1] It cost €40.[2][13]", ["It opened in 1931.", "It cost €40."]),
        ("It opened in 1931.[[1]] It stands.[^2] Why?¹²", ["It opened in 1931.", "It stands.", "Why?"]),
        ("He said “Go.”[3] It is 5 m².", ["He said “Go.”", "It is 5 m²."]),
        ("东京在这里。[1]第二句。", ["东京在这里。", "第二句。"]),
        ("See f(x)[1], [2] and t.[1].y, a.[0] too.", ["See f(x)[1], [2] and t.[1].y, a.[0] too."]),
    ],
)
def test_a_sentence_ends_before_the_mark_of_a_footnote(text: str, cut: list[str]) -> None:
    assert sentences(text) == cut


@settings(deadline=None)
@given(st.text(alphabet='aB1 .!?。\n-#|"é東', max_size=120))
def test_no_word_is_lost_and_the_order_is_kept(text: str) -> None:
    letters = [char for char in normalise(" ".join(sentences(text))) if char.isalpha()]

    assert letters == [char for char in normalise(text) if char.isalpha()]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A line that wraps\nonto the next.", "A line that wraps onto the next."),
        (
            "It wraps at this very\nwidth. It ends.\nThe next goes on with\nit.",
            "It wraps at this very width. It ends.\nThe next goes on with it.",
        ),
        (f"{'One line each. ' * 12}\n{'One line each. ' * 11}", f"{'One line each. ' * 12}\n{'One line each. ' * 11}"),
        ("| a | b |\n| 1 | 2 |\n\n# Title\nText.", "| a | b |\n| 1 | 2 |\n\n# Title\nText."),
        ("```\none line of code\ntwo lines of code\n```", "```\none line of code\ntwo lines of code\n```"),
    ],
)
def test_only_a_line_end_that_the_width_made_is_a_blank(text: str, shown: str) -> None:
    assert unwrapped(text) == shown


@pytest.mark.parametrize(
    "lines",
    [
        ["Anna Meier: 044 123 45 67", "Ben Huber: 044 765 43 21", "Carla Rossi: 044 111 22 33"],
        ["name: Anna", "city: Bern", "phone: 044", "age: 45"],
        ["Mo-Fr: 8-12", "Sa: 9-11"],
        ["address:", "  city: Bern", "  street: Seeweg 12"],
        ["姓名：安娜", "城市：伯尔尼", "电话：044"],
        ["Tea 3.50 €", "Hot chocolate with cream 5.00 €", "Coffee 4.00 €"],
        ["08:00 Breakfast in the dining room on the ground floor", "09:30 Meeting of all", "12:00 Lunch in the garden"],
        ["Opening hours of the museum in Tarn:", "Monday 8-12", "Saturday and Sunday", "Holidays by agreement"],
        ["Anna Meier, Bahnhofstrasse 12, 044 123 45 67", "Ben Huber, Bahnhofstrasse 14, 044 765 43 21", "Cy, 1"],
        ["Emergency contacts", "Anna, owner, 044 123 45 67", "Ben, neighbour, 044 765 43 21", "Dr. Wu, 044 555 12 12"],
        ["Espresso", "Cappuccino", "Caffè latte"],
        ["Bob Huber is 33.", "Eve Meier is 44.", "Ann Rossi is 55."],
        ["黄瓜 1根", "红椒 1个", "豆腐皮 200克"],
        ["नीदरलैंड", "जर्मनी", "फिनलैंड"],
    ],
)
def test_each_line_of_a_list_without_marks_stands_alone(lines: list[str]) -> None:
    told = [line.strip() for line in lines]

    assert sentences("\n".join(lines)) == told
    assert sentences("# Heading\n" + "\n".join(lines) + "\n| a | b |") == ["Heading", *told, "a | b"]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Mo-Fr 8-12  \nSa 9-11", ["Mo-Fr 8-12", "Sa 9-11"]),
        ("It opens on Monday  \nat eight.", ["It opens on Monday at eight."]),
        ("---\ntitle: Tarn\ndate: 2024\n---\nIt stands.", ["title: Tarn", "date: 2024", "It stands."]),
        ("The Bridge\n----------\nIt stands.", ["The Bridge", "It stands."]),
    ],
)
def test_a_line_ends_where_markdown_says_so(text: str, cut: list[str]) -> None:
    assert sentences(text) == cut


@pytest.mark.parametrize(
    "text",
    [
        "Note: The ferry sails at six from the pier of\nTarn: it lands at seven.",
        "Die Brücke von Tarn wurde 1931 von der\nBrandt AG gebaut und bis zum Jahr 1950 von der\nStadt erneuert.",
        "> Die Brücke von Tarn wurde 1931 von der\n> Brandt AG und den Städten im Süden für die\n> Bahn gebaut.",
        "Der Preis für die\n  Brücke von Tarn\n  Franken",
        "It was built for the Mayor,\nAda Brandt,\nBen Huber and others.",
    ],
)
def test_a_few_lines_that_begin_with_capitals_may_be_one_sentence(text: str) -> None:
    assert sentences(text) == [" ".join(text.split())]


PROSE = {
    "en": "The Tarn Bridge was built by Ada Brandt of Velmark between May 1929 and June 1931 for the Harbour Board. "
    "In the first year 1200 cars and 300 carts of Tarn and Velmark crossed it, as Mayor Hale told the Tarn Herald.",
    "de": "Die Hängebrücke von Tarn wurde im Auftrag der Stadt Velmark von der Firma Brandt und Söhne aus Bern "
    "errichtet und am 12. Mai 1931 von Bürgermeisterin Ilse Hale eröffnet. Im Jahr 1950 beschloss der Rat der Stadt "
    "den Bau einer Bahn über die Brücke, deren Kosten Bund und Kanton trugen.",
    "hi": "टार्न का पुल 1931 में वेलमार्क की आडा ब्रांट ने शहर के बंदरगाह के लिए बनाया था और उस पर पहले साल में 1200 "
    "गाड़ियाँ चलीं। अब वहाँ हर दिन सैकड़ों लोग पैदल चलते हैं और शाम को नदी के किनारे बैठकर नावों को देखते हैं।",
    "ar": "بنت آدا برانت جسر تارن في عام 1931 لمجلس الميناء في مدينة فيلمارك وعبرته في السنة الأولى ألف ومئتا سيارة. "
    "واليوم يمشي عليه كل يوم مئات الناس ويجلسون في المساء على ضفة النهر لمشاهدة القوارب.",
    "zh": "塔恩大桥由维尔马克的艾达·布兰特于一九三一年为港务局建造，第一年就有一千二百辆汽车通过这座桥。"
    "如今每天都有数百人步行过桥，傍晚时分人们坐在河边看着船只来来往往，直到城里的灯光一盏一盏地亮起来为止。",
}


def wrapped(text: str, width: int) -> str:
    if " " in text:
        return textwrap.fill(text, width, break_on_hyphens=False)
    return "\n".join(text[at : at + width // 2] for at in range(0, len(text), width // 2))


@settings(max_examples=300)
@given(st.sampled_from(sorted(PROSE)), st.integers(40, 100))
def test_prose_that_a_width_wrapped_is_joined_in_any_script(language: str, width: int) -> None:
    text = PROSE[language]
    cut = sentences(wrapped(text, width))

    assert [re.sub(r"\s", "", one) for one in cut] == [re.sub(r"\s", "", one) for one in sentences(text)]


WORDS = ("Dr", "approx", "e.g", "z.B", "J", "Mai", "31", "1.5", "€3", "word", "Word", "東京", "é")
STOPS = ("…", "?!", ".", ". ", "।", "؟ ", "。", "！")
SIGNS = ("_", "」", '"', "’", ")", "(", "«", " ", "\u3000", "\t", "**", "__")


@settings(max_examples=500)
@given(st.lists(st.sampled_from(WORDS + STOPS + SIGNS), max_size=30).map("".join))
def test_a_line_is_cut_as_if_all_of_it_were_looked_at_for_each_stop(text: str) -> None:
    line = text.strip(" |\t")

    assert sentences(f"x {line}") == plainly_cut(f"x {line}")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# The Ferry\n\nIt sails.", "The Ferry"),
        ("The Ferry\n=========\nIt sails.", "The Ferry"),
        ("Staff handbook\n\nIt begins here.", "Staff handbook"),
        ("It sails at six.\n\nIt lands at seven.", ""),
        ("नाव छह बजे चलती है।\n\nनाव सात बजे पहुँचती है।", ""),
        ("12. Dezember 1931\n\nDie Brücke wird eröffnet.", "12. Dezember 1931"),
        ("1. Opening\n\nIt begins here.\n\n2. Method\n\nIt goes on.", "Opening"),
        ("One line only", ""),
        ("", ""),
    ],
)
def test_a_title_is_a_heading_or_a_first_line_that_stands_alone(text: str, title: str) -> None:
    assert title_of(text) == title
