"""Losses over a vocabulary, a few labels at a time: held to PyTorch's own, values and derivatives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer import reference
from workers.trainer import vocabulary
from workers.trainer.targets import Target, read
from workers.trainer.vocabulary import Outcomes, label_nats, label_nats_and_divergences

VOCABULARY = 97


@pytest.fixture(autouse=True, params=[1, 3 * VOCABULARY, 10**9], ids=["one", "three", "all"])
def _at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "CACHED", request.param)


def case(seed: int, spread: float) -> tuple[torch.Tensor, torch.Tensor, Outcomes]:
    """Return logits of 8 labels, the labels, some of them likely, and what a teacher says of 5."""
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(8, VOCABULARY, generator=generator) * spread).requires_grad_()
    labels = torch.randint(VOCABULARY, (8,), generator=generator)
    labels[::2] = logits[::2].argmax(-1)
    at = torch.randperm(8, generator=generator)[:5]
    said = logits.detach()[at] + torch.randn(5, VOCABULARY, generator=generator)
    target = read(said, at)
    return logits, labels, Outcomes(target.at, target.ids, target.logprobs)


def derivative(logits: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    [found] = torch.autograd.grad(value, logits)
    return found


@given(st.integers(0, 10**6), st.floats(0.01, 20), st.floats(0, 1))
def test_values_and_derivatives_are_those_of_plain_autograd(seed: int, spread: float, share: float) -> None:
    logits, labels, teacher = case(seed, spread)
    nats, apart = label_nats_and_divergences(logits, labels, teacher)
    plain_nats = reference.label_nats(logits, labels)
    plain_apart = reference.divergence(logits[teacher.at], Target(*teacher))

    assert torch.allclose(nats, plain_nats, atol=1e-4)
    assert torch.allclose(apart, plain_apart, atol=1e-4)
    weights = torch.linspace(-1, 2, 8)
    mixed = (weights * nats).sum() + share * (apart - nats[teacher.at]).sum()
    plain = (weights * plain_nats).sum() + share * (plain_apart - plain_nats[teacher.at]).sum()
    assert torch.allclose(derivative(logits, mixed), derivative(logits, plain), atol=2e-4)


@given(st.integers(0, 10**6), st.floats(0.01, 20))
def test_labels_alone_need_no_teacher(seed: int, spread: float) -> None:
    logits, labels, _ = case(seed, spread)
    nats, plain = label_nats(logits, labels), reference.label_nats(logits, labels)

    assert torch.allclose(nats, plain, atol=1e-4)
    assert torch.allclose(derivative(logits, nats.sum()), derivative(logits, plain.sum()), atol=1e-5)


def test_a_label_that_is_all_but_certain_keeps_its_small_derivative_in_bfloat16() -> None:
    logits = torch.zeros(1, VOCABULARY, dtype=torch.bfloat16)
    logits[0, 5] = 12.0
    logits.requires_grad_()
    found = derivative(logits, label_nats(logits, torch.tensor([5])).sum())
    expected = derivative(logits, reference.label_nats(logits, torch.tensor([5])).sum())

    assert found[0, 5].item() == pytest.approx(expected[0, 5].item(), rel=0.01)
    assert -1e-3 < found[0, 5].item() < 0


def test_padding_that_stands_at_one_label_many_times_and_counts_for_nothing_adds_nothing() -> None:
    logits, labels, teacher = case(0, 3.0)
    last = torch.full((4,), 7)
    with torch.no_grad():
        logits[7, 0] = 200.0  # all others are as good as impossible there
    kept = Outcomes(*(one[teacher.at != 7] for one in teacher))
    at = torch.cat([kept.at, last])
    ids = torch.cat([kept.ids, torch.zeros(4, 20, dtype=torch.long)])
    logprobs = torch.cat([kept.logprobs, torch.zeros(4, 21)])
    share = torch.tensor([1.0] * 7 + [0.0])

    nats, apart = label_nats_and_divergences(logits, labels, Outcomes(at, ids, logprobs))
    changed = (share * nats.index_add(0, at, apart - nats[at])).sum()
    nats, apart = label_nats_and_divergences(logits, labels, kept)
    plain = (share * nats.index_add(0, kept.at, apart - nats[kept.at])).sum()
    assert torch.allclose(derivative(logits, changed), derivative(logits, plain), atol=1e-6)


def test_no_logits_are_changed() -> None:
    logits, labels, teacher = case(1, 3.0)
    before = logits.detach().clone()
    nats, apart = label_nats_and_divergences(logits, labels, teacher)
    (nats.sum() + apart.sum()).backward()

    assert torch.equal(logits, before)


def test_derivatives_of_drawn_tokens_have_fishers_information_as_their_second_moment() -> None:
    one = torch.tensor([2.0, 0.0, 1.0, -1.0])
    p = one.softmax(-1)
    found = vocabulary.drawn_derivatives(one.expand(3_000, 4).contiguous(), torch.Generator().manual_seed(0))

    torch.testing.assert_close(found.mean(0), torch.zeros(4), atol=0.03, rtol=0)
    torch.testing.assert_close(found.T @ found / len(found), p.diag() - p.outer(p), atol=0.02, rtol=0)
