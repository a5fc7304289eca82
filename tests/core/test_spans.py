"""Which stretches of a sentence may be asked for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.grounding import holds
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
    ],
)
def test_numbers_names_quotes_and_ends_are_found(sentence: str, found: list[str]) -> None:
    assert set(found) <= set(spans(sentence))


@pytest.mark.parametrize(
    "sentence", ["Das Haus kostet 2,5 Millionen.", "It has 12 000 people.", "Call 603 556 7631 now."]
)
def test_no_span_is_part_of_a_number(sentence: str) -> None:
    assert all(holds(sentence, span) for span in spans(sentence))


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from('aB of the 1.5€%,"“”é東ア'), max_size=80))
def test_every_span_is_in_its_sentence_and_in_no_other_span(sentence: str) -> None:
    found = spans(sentence)

    assert len(found) <= SPANS_PER_SENTENCE
    assert all(span in sentence for span in found)
    assert not [(one, two) for one in found for two in found if one != two and holds(one, two)]
