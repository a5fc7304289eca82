"""Parts of a load: whole facts, whole documents where that costs little, the same every time."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from app.core.partition import Part, Piece, partition
from app.core.recipe import Recipe

pieces = st.lists(st.builds(Piece, st.sampled_from("abcdef"), st.integers(1, 50)), min_size=1, max_size=60)


def in_order(given: list[Piece], found: list[int]) -> list[tuple[Piece, int]]:
    """Return the pieces with their parts, documents in the order in which they first appear."""
    first = list(dict.fromkeys(piece.document for piece in given))
    return sorted(zip(given, found, strict=True), key=lambda pair: first.index(pair[0].document))


@given(pieces, st.integers(1, 9))
def test_every_part_is_a_stretch_of_the_documents_and_none_is_empty(given: list[Piece], parts: int) -> None:
    found = partition(given, parts)
    stretches = [number for number, _ in groupby(number for _, number in in_order(given, found))]

    assert stretches == list(range(min(parts, len(given))))
    assert found == partition(given, parts)


@given(pieces, st.integers(2, 5))
def test_parts_are_balanced_to_within_a_piece_and_the_slack(given: list[Piece], parts: int) -> None:
    found = partition(given, parts)
    total = sum(piece.tokens for piece in given)
    largest = max(piece.tokens for piece in given)
    sizes = [sum(piece.tokens for piece, one in zip(given, found, strict=True) if one == n) for n in range(parts)]

    if len(given) >= parts:
        assert max(sizes) <= 1.1 * total / parts + max(largest, parts * largest / 2)


def test_a_part_ends_with_a_document_where_that_is_hardly_further() -> None:
    given = [Piece("a", 10)] * 10 + [Piece("b", 10)] * 11

    assert partition(given, 2) == [0] * 10 + [1] * 11


def test_a_document_that_one_part_cannot_hold_is_cut_between_its_pieces() -> None:
    assert partition([Piece("a", 10)] * 4 + [Piece("b", 10)] * 2, 3) == [0, 0, 1, 1, 2, 2]


def test_what_is_said_of_one_document_in_two_places_stays_together() -> None:
    given = [Piece("a", 10), Piece("b", 10), Piece("a", 10), Piece("b", 10)]

    assert partition(given, 2) == [0, 1, 0, 1]


def test_parts_have_seeds_of_their_own_and_the_first_one_the_recipes() -> None:
    seeds = [Part(index, 3).seeded(Recipe(seed=2**31 - 2)).seed for index in (1, 2, 3)]

    assert seeds == [2**31 - 2, 2**31 - 1, 0]
