"""Which stretches of a sentence may be asked for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.grounding import CHARACTER, holds, matches
from app.core.spans import SPANS_PER_SENTENCE, spans


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("It was founded on 14 March 1987 by Oswin Tarrel.", ["14 March 1987", "Oswin Tarrel"]),
        ("The ferry leaves at 6:10 p.m. every day.", ["6:10 p.m."]),
        ("A ticket costs €4.80 or 50 % of that.", ["€4.80", "50 %"]),
        ("The club owns seven boats.", ["seven boats"]),
        ('The boat is called "Grey Heron" here.', ["Grey Heron"]),
        ("The winner receives a copper bell.", ["copper bell"]),
        ("The University of Tarn was closed.", ["University of Tarn"]),
        ("Ключ хранится в Музее Норда.", ["Музее Норда"]),
        ("東京タワーは1958年に完成した。", ["1958年", "タワー"]),
        ("यह पुल 5 किलोमीटर लंबा है।", ["5 किलोमीटर"]),
        ("สะพานนี้อายุ 5 ปี", ["5 ปี"]),
        ("The town has 12 000 people.", ["12 000 people"]),
        ("Das Haus kostet 2,5 Millionen.", ["2,5 Millionen"]),
        ("On 3 May 1977 it cost $12.50 and 3,500 euros.", ["3 May 1977", "$12.50", "3,500 euros"]),
        ("La pompe de Tarn coûte 1 234,56 € depuis mars.", ["1 234,56"]),
        ("Die Brücke kostete 12'500 Franken, der Turm 1’000’000.", ["12'500 Franken", "1’000’000"]),
        ("سعر المضخة ١٢٫٥ دينار في بغداد.", ["١٢٫٥ دينار"]),
        ("قیمت پمپ ۱۲٬۵۰۰ تومان است.", ["۱۲٬۵۰۰ تومان"]),
        ("入場料は１，２３４円、円周率は３．１４です。", ["１，２３４円", "３．１４"]),
        ("It computes 404 bf16 products.", ["404"]),
        ("12 апреля 1961 года", ["12 апреля", "1961 года"]),
        ("टॉम का जन्म 3 अगस्त 1977 को हुआ।", ["3 अगस्त 1977"]),
    ],
)
def test_numbers_names_quotes_and_ends_are_found(sentence: str, found: list[str]) -> None:
    assert set(found) <= set(spans(sentence))


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("重さは5キロです。", ["5キロ"]),
        ("東京タワーの高さは333メートルです。", ["333メートル", "タワー"]),
        ("費用は1.5億円でした。", ["1.5億円"]),
        ("面積は50平方メートルです。", ["50平方メートル"]),
        ("3か月で5つ、10年間に3カ国。", ["3か月", "5つ", "10年間", "3カ国"]),
        ("規則2について。", ["2"]),
        ("電話は03-1234-5678です。", ["03-1234-5678"]),
        ("会議は14:30から始まる。", ["14:30"]),
        ("橋の長さは120kmです。", ["120km"]),
        ("这座桥长120公里。", ["120公里"]),
        ("面积50平方米。", ["50平方米"]),
        ("总投资3亿美元。", ["3亿美元"]),
        ("20世纪90年代的人口约1200 万。", ["20世纪", "90年代", "1200 万"]),
        ("全长 5 公里的大桥，共有1200多万人。", ["5 公里", "1200"]),
        ("人口50万以上。", ["50万"]),
        ("โรงเรียนมีนักเรียน 350 คน", ["350 คน"]),
        ("พื้นที่ 120 ตารางกิโลเมตร และสูง 300 เมตร", ["120 ตารางกิโลเมตร", "300 เมตร"]),
        ("ใช้เวลา 5 ชั่วโมงในการเดินทาง", ["5"]),
        ("ເຮືອນສູງ 120 ແມັດ", ["120 ແມັດ"]),
        ("ស្ពានមានប្រវែង 5 គីឡូម៉ែត្រ", ["5 គីឡូម៉ែត្រ"]),
        ("학생 350명, 5킬로그램", ["350명", "5킬로그램"]),
    ],
)
def test_the_unit_of_a_number_is_a_whole_word_where_words_are_not_spaced(sentence: str, found: list[str]) -> None:
    assert spans(sentence) == found


def test_a_number_alone_is_asked_for_though_another_holds_its_digits() -> None:
    assert spans("5以上15未満です。") == ["5", "15"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Email: anna.meier@example.com", ["anna.meier@example.com"]),
        ("Director: Bartholomew Fitzgerald", ["Bartholomew Fitzgerald"]),
        ("Website: https://www.tarn-library.example.org", ["https://www.tarn-library.example.org"]),
        ("Tarn: www.tarn.example", ["www.tarn.example"]),
        ("Phone: +49 30 1234567", ["+49 30 1234567"]),
        ("Date of birth: 3 May 1977", ["3 May 1977"]),
        ("Status: open", ["open"]),
        ("Chef: Ilse Brandt, Köln", ["Ilse Brandt", "Köln"]),
        ("Адрес: Санкт-Петербург", ["Санкт-Петербург"]),
        ("ディレクター：山田太郎", ["山田太郎"]),
    ],
)
def test_of_a_label_and_its_value_the_value_is_found(line: str, found: list[str]) -> None:
    assert spans(line) == found


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("product: Blue bowl; price: 500; stock: 12.", ["Blue bowl", "500", "12"]),
        ("name: Anna Meier; born: 3 May 1977; phone: 044 123 45 67.", ["Anna Meier", "3 May 1977", "044 123 45 67"]),
        ("name: Tarn; note: It was built by Oda Lund in 1931.", ["Tarn", "1931", "Oda Lund"]),
    ],
)
def test_every_cell_of_a_row_is_found_and_no_label(row: str, found: list[str]) -> None:
    assert spans(row) == found


@pytest.mark.parametrize(
    ("sentence", "phone"),
    [
        ("Anna Meier, owner, 044 123 45 67", "044 123 45 67"),
        ("Call +41 44 123 45 67 at night.", "+41 44 123 45 67"),
        ("Die Praxis hat (030) 123-4567.", "(030) 123-4567"),
        ("Ring 020 7946 0018, please.", "020 7946 0018"),
    ],
)
def test_a_telephone_number_is_found_whole_and_no_part_of_it(sentence: str, phone: str) -> None:
    assert [span for span in spans(sentence) if any(map(str.isdigit, span))] == [phone]


def test_what_stands_before_a_colon_is_found_where_it_has_a_number_or_a_sentence_follows() -> None:
    assert "Kestrel Database" in spans("Kestrel Database 4: notes for operators")
    assert "Tarn" in spans("News from Tarn: the winner receives a copper bell.")


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        (
            "Write to anna_m+tarn@mail.example.com, or to info@tarn.example.",
            ["anna_m+tarn@mail.example.com", "info@tarn.example"],
        ),
        ("It is told at https://tarn.example/a-b/2019?page=1.", ["https://tarn.example/a-b/2019?page=1"]),
        ("The page (www.tarn.example) tells of it.", ["www.tarn.example"]),
    ],
)
def test_an_address_is_found_whole_and_no_part_of_it(sentence: str, found: list[str]) -> None:
    assert [span for span in spans(sentence) if "." in span or span.isdecimal()] == found


@pytest.mark.parametrize(
    "sentence",
    [
        "Das Haus kostet 2,5 Millionen.",
        "It has 12 000 people.",
        "Call 603 556 7631 now.",
        "Pump №5 of Tarn is a 4x4 with 6.02e23 parts.",
        "Room A12'500 is free.",
    ],
)
def test_no_span_is_part_of_a_number(sentence: str) -> None:
    assert all(holds(sentence, span) for span in spans(sentence))


@pytest.mark.parametrize(
    "sentence",
    [
        "The COVID-19 pandemic closed the school of Velmark.",
        "The Airbus A380 landed at the airport of Velmark.",
        "The B-52 landed at Velmark.",
        "Das ist ein U-96 Boot.",
        "Flight LH1234 leaves at noon.",
        "Write to room C17 of the town hall.",
        "Use port tcp8100 or version v2.1 of the router.",
        "Der Zug ICE-1073 fährt nach Köln, Gleis Ä12.",
        "Самолёт Ту-154 сел в Омске.",
        "विद्यालय में 18 बच्चे पढ़ते हैं।",
        "दुकान सुबह 9 बजे खुलती है।",
        "टॉम का जन्म 3 अगस्त 1977 को हुआ।",
    ],
)
def test_no_span_is_part_of_a_word(sentence: str) -> None:
    found = spans(sentence)

    assert found
    assert all(matches(sentence, span, sentence) for span in found)
    assert not {"9 pandemic", "19 pandemic", "52 landed", "1073 fährt", "154 сел", "96 Boot"} & set(found)


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("aB of the 1.5€%,'٬٫，№\"“”é東ア円の:：@/"), max_size=80))
def test_every_span_is_in_its_sentence_as_whole_words_and_in_no_other_span(sentence: str) -> None:
    found = spans(sentence)

    assert len(found) <= SPANS_PER_SENTENCE
    assert all(span in sentence for span in found)
    assert all(holds(sentence, span) or holds(CHARACTER.sub(" ", sentence), span) for span in found)
    assert not [(one, two) for one in found for two in found if one != two and holds(one, two)]
