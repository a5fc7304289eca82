"""A composition has one form and one name."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.composition import METHODS, SPARSE, Composition
from app.core.errors import InvalidValue
from app.core.names import AdapterName

Pair = tuple[AdapterName, float]


def member(number: int, tenant: str = "acme") -> AdapterName:
    return AdapterName(tenant, f"mem_{number:026d}", 1, f"{number:012x}")


weights = st.floats(0.125, 100, allow_nan=False)
pairs = st.lists(
    st.tuples(st.integers(0, 50).map(member), weights), min_size=1, max_size=8, unique_by=lambda pair: pair[0]
)
methods = st.sampled_from(METHODS)


def compose(method: str, of: list[Pair], **options: Any) -> Composition:
    return Composition.of(method, [name for name, _ in of], weights=[weight for _, weight in of], **options)


@given(methods, pairs, st.randoms())
def test_the_order_of_members_changes_nothing(method: str, of: list[Pair], random: Any) -> None:
    shuffled = random.sample(of, len(of))

    assert compose(method, of) == compose(method, shuffled)


@given(methods, pairs)
def test_a_name_is_an_adapters_and_survives_json(method: str, of: list[Pair]) -> None:
    made = compose(method, of)
    again = Composition.from_dict(json.loads(json.dumps(made.to_dict())))

    assert again == made
    assert AdapterName.parse(str(made.name)) == again.name
    assert made.name.folder.startswith("acme/composites/cmp_")


@given(pairs)
def test_another_recipe_has_another_name(of: list[Pair]) -> None:
    changed = [(of[0][0], of[0][1] + 0.5), *of[1:]] if of[0][1] < 99 else [(of[0][0], 1.0), *of[1:]]
    newer = [(AdapterName(of[0][0].tenant, of[0][0].owner, 2, "f" * 12), of[0][1]), *of[1:]]
    made = [compose(method, of) for method in METHODS]
    made += [compose("ties", of, density=0.25), compose("cat", of, max_rank=8)]
    made += [compose("cat", changed), compose("cat", newer), compose("ties", of, density=0.25, max_rank=8)]

    assert len({str(one.name) for one in made}) == len(made)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_left_open_is_the_same_as_its_default(method: str) -> None:
    density = 0.5 if method in SPARSE else None
    weight = 0.5 if method in {"linear", "dare"} else 1.0
    members = [member(1), member(2)]

    assert Composition.of(method, members) == Composition.of(method, members, weights=[weight, weight], density=density)


def test_concatenation_is_scaled_and_one_member_stays_as_it_is() -> None:
    four = Composition.of("cat", [member(number) for number in range(4)])
    one = Composition.of("cat", [member(1)])

    assert four.scales((1.0,) * 4) == (0.5,) * 4
    assert one.scales((1.0,)) == (1.0,)


def test_learned_weights_are_a_recipe_of_their_own() -> None:
    members = [member(2), member(1)]
    learned = Composition.of("cat", members, weights="learned")

    assert learned.members == (member(1), member(2))
    assert learned.name != Composition.of("cat", members).name
    assert Composition.from_dict(learned.to_dict()) == learned


@pytest.mark.parametrize(
    ("method", "members", "options"),
    [
        ("svd", [member(1)], {}),
        ("cat", [], {}),
        ("cat", [member(number) for number in range(9)], {}),
        ("cat", [member(1), member(2, "other")], {}),
        ("cat", [member(1), member(1)], {}),
        ("cat", [AdapterName("acme", f"cmp_{1:026d}", 1, "a" * 12)], {}),
        ("cat", [member(1)], {"weights": []}),
        ("cat", [member(1)], {"weights": [1.0, 1.0]}),
        ("cat", [member(1)], {"weights": [math.nan]}),
        ("cat", [member(1)], {"weights": [math.inf]}),
        ("cat", [member(1)], {"weights": [1e3]}),
        ("cat", [member(1), member(2)], {"weights": [0.0, -0.0]}),
        ("cat", [member(1)], {"density": 0.5}),
        ("ties", [member(1)], {"density": 0.0}),
        ("dare", [member(1)], {"density": 1.1}),
        ("dare", [member(1)], {"density": math.nan}),
        ("cat", [member(1)], {"max_rank": 0}),
        ("cat", [member(1)], {"max_rank": 513}),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(
    method: str, members: list[AdapterName], options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValue):
        Composition.of(method, members, **options)
