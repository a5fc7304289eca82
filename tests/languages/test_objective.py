"""The closed forms of TLPO, on tensors alone."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.languages.objective import MOST_K3, advantages, can_teach, exact_kl, k3, masses, terms

PROBABILITIES = torch.tensor([[0.4, 0.3, 0.2, 0.05], [0.5, 0.1, 0.3, 0.02]], dtype=torch.float64)  # (G=2, N=4)
REWARDS = torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
NO_KL = torch.zeros(2, dtype=torch.float64)


@st.composite
def groups(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of six candidates, with a rest, and rewards of which one is valid and one confused."""
    weights = torch.tensor(draw(st.lists(st.floats(0.01, 1), min_size=7, max_size=7)), dtype=torch.float64)
    more = draw(st.lists(st.sampled_from([1.0, -1.0, 0.0]), min_size=4, max_size=4))
    return (weights / weights.sum())[None, :6], torch.tensor([[1.0, -1.0, *more]], dtype=torch.float64)


@given(groups())
def test_advantages_are_half_of_each_candidates_share_of_its_side(group: tuple[torch.Tensor, torch.Tensor]) -> None:
    old, rewards = group
    valid, confused = masses(old, rewards)

    found = advantages(old, rewards)

    expected = torch.where(rewards > 0, old / (2 * valid), -old / (2 * confused)) * rewards.abs()
    assert torch.allclose(found, expected, atol=1e-12)


@given(groups())
def test_advantages_sum_to_nothing_and_their_absolute_values_to_one(group: tuple[torch.Tensor, torch.Tensor]) -> None:
    found = advantages(*group)

    assert found.sum().item() == pytest.approx(0, abs=1e-12)
    assert found.abs().sum().item() == pytest.approx(1)


def test_a_neutral_candidate_earns_nothing_and_changes_nothing() -> None:
    with_it = advantages(PROBABILITIES, REWARDS)[1]
    without = advantages(PROBABILITIES[1:, [0, 2, 3]], REWARDS[1:, [0, 2, 3]])[0]

    assert with_it[1] == 0
    assert torch.equal(with_it[[0, 2, 3]], without)


def test_a_group_whose_candidates_are_all_alike_teaches_nothing() -> None:
    rewards = torch.tensor([[1.0, 1.0, 0.0, 1.0], [0.0, -1.0, -1.0, 0.0]], dtype=torch.float64)

    assert not can_teach(rewards).any()
    for kind in ("tlpo", "centred", "standardised"):
        assert torch.equal(advantages(PROBABILITIES, rewards, kind), torch.zeros_like(PROBABILITIES))


def test_the_other_advantages_are_centred_on_the_mean_reward_and_scaled_by_its_deviation() -> None:
    old, rewards = PROBABILITIES[:1], REWARDS[:1]
    mu = (0.6 - 0.35) / 0.95
    sigma = math.sqrt(1 - mu * mu)

    centred, standardised = advantages(old, rewards, "centred"), advantages(old, rewards, "standardised")

    assert centred[0].tolist() == pytest.approx([1 - mu, -1 - mu, 1 - mu, -1 - mu])
    assert torch.allclose(standardised, centred / sigma)


def gradient(logits: torch.Tensor, candidates: torch.Tensor, rewards: torch.Tensor, beta: float = 0.0) -> torch.Tensor:
    """Return the gradient of N * J on (G, V) logits where the old policy and the reference are the policy itself."""
    logits = logits.clone().requires_grad_()
    found = logits.log_softmax(-1).gather(1, candidates)
    old = found.detach().clone()
    kl = k3(found, old)
    part = terms(found, old, advantages(old.exp(), rewards), kl, clip=0.2, beta=beta)
    (part.objective * candidates.shape[1] * candidates.shape[0]).backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_the_gradient_on_the_logits_is_the_advantage_and_nothing_elsewhere(beta: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 50, dtype=torch.float64)
    candidates = logits.topk(4).indices

    found = gradient(logits, candidates, REWARDS, beta)

    old = logits.softmax(-1).gather(1, candidates)
    expected = torch.zeros_like(logits).scatter(1, candidates, advantages(old, REWARDS))
    assert torch.allclose(found, expected, atol=1e-15)


def test_gains_beyond_the_range_of_the_ratio_are_cut_off_and_losses_are_not() -> None:
    advantage = torch.tensor([[0.5, -0.5]], dtype=torch.float64)
    old = torch.tensor([[-1.0, -1.0]], dtype=torch.float64)
    moved = (old + torch.tensor([[0.5, -0.5]])).requires_grad_()  # as the advantages want it, further than 20 %
    back = (old + torch.tensor([[-0.5, 0.5]])).requires_grad_()  # against what they want

    earned = terms(moved, old, advantage, NO_KL[:1], clip=0.2, beta=0.0)
    lost = terms(back, old, advantage, NO_KL[:1], clip=0.2, beta=0.0)
    (earned.objective + lost.objective).backward()

    assert earned.objective.item() == pytest.approx((1.2 * 0.5 - 0.8 * 0.5) / 2)
    assert (earned.clipped.item(), lost.clipped.item()) == (1.0, 0.0)
    assert moved.grad is not None
    assert moved.grad.tolist() == [[0.0, 0.0]]
    assert back.grad is not None
    assert (back.grad != 0).all()


def test_k3_is_nothing_where_the_policy_is_the_reference_and_never_below() -> None:
    reference = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))

    assert torch.equal(k3(reference, reference), torch.zeros(3))
    assert (k3(reference + torch.randn(3, 8), reference) > 0).all()


def test_k3_does_not_explode_for_a_candidate_that_is_pushed_to_nothing() -> None:
    reference, policy = torch.tensor([[-1.0]]), torch.tensor([[-60.0]])

    assert k3(policy, reference).item() == pytest.approx(math.exp(MOST_K3) - MOST_K3 - 1)


def test_the_exact_kl_is_that_of_the_whole_vocabulary() -> None:
    torch.manual_seed(0)
    policy, reference = torch.randn(2, 9).log_softmax(-1), torch.randn(2, 9).log_softmax(-1)

    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=policy), torch.distributions.Categorical(logits=reference)
    )
    assert torch.allclose(exact_kl(policy, reference), expected, atol=1e-6)
    assert torch.allclose(exact_kl(policy, policy), torch.zeros(2))


def test_without_the_kl_the_update_sharpens_what_is_valid() -> None:
    logits = torch.log(torch.tensor([[0.33, 0.2, 0.19, 0.28]], dtype=torch.float64))  # three valid, one confused
    rewards = torch.tensor([[1.0, 1.0, 1.0, -1.0]], dtype=torch.float64)
    candidates = torch.tensor([[0, 1, 2, 3]])
    for _ in range(40):
        logits = logits + gradient(logits, candidates, rewards)

    after = logits.softmax(-1)[0]

    assert after[3] < 0.01
    assert after[0] / after[:3].sum() > 0.7 > 0.33 / 0.72
