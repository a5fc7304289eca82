"""The policy that decodes in this process draws as the model's probabilities say."""

import torch

from workers.languages.torch_policy import Draw

DRAWS = 20_000


def drawn(logits: list[float], temperature: float = 1.0) -> torch.Tensor:
    torch.manual_seed(0)
    scores = torch.tensor(logits).expand(DRAWS, -1).clone()
    return Draw(temperature)(torch.empty(DRAWS, 0, dtype=torch.long), scores).argmax(-1)


def test_tokens_are_drawn_as_often_as_their_softmax_says() -> None:
    logits, temperature = [0.3, -1.0, 2.0, 0.0, 1.1], 0.6
    expected = (torch.tensor(logits) / temperature).softmax(-1)
    shares = drawn(logits, temperature).bincount(minlength=len(logits)) / DRAWS
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)  # four standard deviations and more


def test_a_token_of_no_probability_is_never_drawn_wherever_it_stands() -> None:
    never = -torch.inf
    assert set(drawn([never, 1.0, never, 1.0, never]).tolist()) == {1, 3}


def test_each_row_is_drawn_from_its_own_scores() -> None:
    scores = torch.full((3, 1000), -torch.inf)
    scores[torch.arange(3), torch.tensor([0, 999, 500])] = 5.0
    torch.manual_seed(0)
    assert Draw(0.6)(torch.empty(3, 0, dtype=torch.long), scores).argmax(-1).tolist() == [0, 999, 500]


def test_a_large_vocabulary_of_half_precision_is_drawn_from_to_its_end() -> None:
    torch.manual_seed(0)
    scores = torch.zeros(200, 50_000, dtype=torch.bfloat16)
    found = Draw(1.0)(torch.empty(200, 0, dtype=torch.long), scores).argmax(-1)
    assert 22_500 < found.float().mean() < 27_500
    assert found.max() > 47_000
