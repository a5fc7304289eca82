"""Merging equals PEFT's where PEFT says what is right, and is exact where it can be."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import Tensor

from app.core.composition import METHODS, Method
from workers.engine.merge import Factors, Plan, compress, merge

OUT, IN = 12, 10
weights = st.floats(0.125, 4)


def random_factors(rank: int, seed: int) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    return Factors(torch.randn(rank, IN, generator=generator), torch.randn(OUT, rank, generator=generator))


def update(factors: Factors) -> Tensor:
    return factors.b @ factors.a


def by_peft(members: Sequence[Factors], given: Sequence[float], kind: str, **options: Any) -> Factors:
    """Merge with PEFT's own adapters on a one-layer model; each has alpha = 2 x rank."""
    model: Any = torch.nn.Sequential(torch.nn.Linear(IN, OUT, bias=False))
    for number, one in enumerate(members):
        config = LoraConfig(r=one.rank, lora_alpha=2 * one.rank, target_modules=["0"])
        if number:
            model.add_adapter(f"m{number}", config)
        else:
            model = get_peft_model(model, config, adapter_name="m0")
        layer = model.base_model.model[0]
        layer.lora_A[f"m{number}"].weight.data = one.a.clone()
        layer.lora_B[f"m{number}"].weight.data = one.b.clone()
    names = [f"m{number}" for number in range(len(members))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of a density of 1
        model.add_weighted_adapter(names, list(given), "merged", combination_type=kind, **options)
    layer = model.base_model.model[0]
    return Factors(layer.lora_A["merged"].weight.data, layer.lora_B["merged"].weight.data)


@pytest.mark.parametrize("given", [[0.5, 0.5], [1.0, 0.25, 2.0], [1.0, -0.5]])
@pytest.mark.parametrize(
    ("method", "kind", "density"),
    [("linear", "linear", 1.0), ("cat", "cat", 1.0), ("ties", "ties", 0.3), ("dare", "dare_linear", 1.0)],
)
def test_merging_equals_pefts(method: Method, kind: str, density: float, given: list[float]) -> None:
    members = [random_factors(4, seed) for seed in range(len(given))]
    options = {} if kind in {"linear", "cat"} else {"density": density}
    theirs = by_peft(members, given, kind, **options)
    ours = merge(members, [2 * weight for weight in given], Plan(method, density))  # alpha/rank is 2

    torch.testing.assert_close(ours.a, theirs.a)
    torch.testing.assert_close(ours.b, theirs.b)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 6), weights), min_size=1, max_size=5))
def test_concatenation_is_the_exact_sum_of_updates(of: list[tuple[int, float]]) -> None:
    members = [random_factors(rank, seed) for seed, (rank, _) in enumerate(of)]
    merged = merge(members, [weight for _, weight in of], Plan("cat"))
    exact = sum((weight * update(one) for one, (_, weight) in zip(members, of, strict=True)), torch.zeros(OUT, IN))

    assert merged.rank == sum(rank for rank, _ in of)
    torch.testing.assert_close(update(merged), exact, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_one_member_with_weight_1_is_that_member(method: Method) -> None:
    member = random_factors(4, 1)
    merged = merge([member], [1.0], Plan(method))

    assert torch.equal(merged.a, member.a)
    assert torch.equal(merged.b, member.b)


def test_linear_is_the_exact_sum_only_where_the_members_share_their_a() -> None:
    one, other = random_factors(4, 1), random_factors(4, 2)
    shared = [one, Factors(one.a, other.b)]
    exact = [0.5 * update(members[0]) + 0.5 * update(members[1]) for members in (shared, [one, other])]

    torch.testing.assert_close(update(merge(shared, [0.5, 0.5], Plan("linear"))), 2 * exact[0])
    assert not torch.allclose(update(merge([one, other], [0.5, 0.5], Plan("linear"))), exact[1], atol=0.1)


@pytest.mark.parametrize("method", ["linear", "ties", "dare"])
def test_a_smaller_rank_is_filled_up_with_zeros(method: Method) -> None:
    small, large = random_factors(2, 1), random_factors(4, 2)
    filled = Factors(
        torch.cat([small.a, torch.zeros(2, IN)]),
        torch.cat([small.b, torch.zeros(OUT, 2)], dim=1),
    )
    plan = Plan(method, 0.5, seed=3)
    mixed, even = merge([small, large], [1.0, 1.0], plan), merge([filled, large], [1.0, 1.0], plan)

    assert mixed.rank == 4
    assert torch.equal(mixed.a, even.a)
    assert torch.equal(mixed.b, even.b)


def test_dare_drops_by_its_seed_alone_and_keeps_the_expectation() -> None:
    ones = Factors(torch.ones(16, 500), torch.ones(500, 16))
    first, again, other = (merge([ones], [1.0], Plan("dare", 0.25, seed)) for seed in (1, 1, 2))

    assert torch.equal(first.a, again.a)
    assert not torch.equal(first.a, other.a)
    assert set(first.a.unique().tolist()) == {0.0, 4.0}
    assert abs(float(first.a.mean()) - 1) < 0.1


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_compression_loses_what_it_says_and_nothing_where_the_rank_suffices(full: int, rank: int, seed: int) -> None:
    whole = random_factors(full, seed)
    (small, lost), total = compress(whole, rank), whole.squared_norm
    off = float((update(whole) - update(small)).square().sum())
    best = torch.linalg.svdvals(update(whole))[rank:].square().sum()

    assert small.rank == min(rank, full, OUT, IN)
    assert off == pytest.approx(lost, abs=1e-4 * total)
    assert off == pytest.approx(float(best), abs=1e-4 * total)
    assert total == pytest.approx(float(update(whole).square().sum()), rel=1e-4)
    if rank >= min(full, OUT, IN):
        assert math.sqrt(lost / total) < 1e-3
