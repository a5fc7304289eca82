"""The law of recall that fits measurements best, with what is known in general as its prior."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from app.core.capacity import PRIOR, Law, Point

TRIALS = 16  # what one measurement counts for: the facts of a training are learned, or lost, together
_POWER, _POWER_SD = math.log(4), 1.0  # a power of 0.8, on the logit scale
_KNEE_SD, _SLOPE_SD = 2.0, 0.7  # on the log scale


def fit_law(points: Sequence[Point], *, base: str, conditions: dict[str, Any], fitted_at: float) -> Law:
    """Fit the law of `app.core.capacity` to at least one measurement.

    Logistic regression of the recalled shares on ln(tokens), the knee's height and its growth with the parameters.
    Gaussian priors on the three keep it finite where all is recalled, or nothing; they are broad, and weak beside a few
    points around the knee.
    """
    logs = torch.tensor([[math.log(one.tokens), math.log(one.parameters)] for one in points], dtype=torch.float64)
    shares = torch.tensor([one.recall for one in points], dtype=torch.float64)
    reference = logs[:, 1].mean().exp().item()
    data = _Data(logs[:, 0], logs[:, 1] - math.log(reference), shares, reference)
    theta = _minimise(data)
    knee, power, slope = theta[0].exp().item(), theta[1].sigmoid().item(), theta[2].exp().item()
    covariance = torch.linalg.pinv(torch.autograd.functional.hessian(data.loss, theta), hermitian=True)
    return Law(
        knee_tokens=knee,
        reference=reference,
        power=power,
        slope=slope,
        spread=math.sqrt(_residual(data, theta) + max(0.0, covariance[0, 0].item())),
        power_spread=math.sqrt(max(0.0, covariance[1, 1].item())) * power * (1 - power),
        base=base,
        conditions=conditions,
        points=len(points),
        fitted_at=fitted_at,
    )


class _Data:
    """N measurements, and how badly three numbers explain them: ln(knee), logit(power), ln(slope)."""

    def __init__(self, tokens: torch.Tensor, parameters: torch.Tensor, shares: torch.Tensor, reference: float) -> None:
        self.tokens, self.parameters, self.shares = tokens, parameters, shares  # (N,) each: ln, ln, 0-1
        knee = math.log(PRIOR.knee(round(reference)))
        self.prior = torch.tensor([knee, _POWER, math.log(PRIOR.slope)], dtype=torch.float64)
        self.widths = torch.tensor([_KNEE_SD, _POWER_SD, _SLOPE_SD], dtype=torch.float64)

    def logits(self, theta: torch.Tensor) -> torch.Tensor:
        """Return the (N,) logits of recall."""
        return theta[2].exp() * (theta[0] + theta[1].sigmoid() * self.parameters - self.tokens)

    def loss(self, theta: torch.Tensor) -> torch.Tensor:
        """Return the negative log posterior, but for a constant."""
        told = functional.binary_cross_entropy_with_logits(self.logits(theta), self.shares, reduction="sum")
        return TRIALS * told + (((theta - self.prior) / self.widths) ** 2).sum() / 2


def _minimise(data: _Data) -> torch.Tensor:
    """Return the (3,) numbers that explain the data best: Newton's method, damped as Levenberg and Marquardt do."""
    theta, damping = data.prior.clone(), 1.0
    for _ in range(200):
        gradient = torch.autograd.functional.jacobian(data.loss, theta)
        if gradient.norm() < 1e-6:
            break
        curvature = torch.autograd.functional.hessian(data.loss, theta) + damping * torch.eye(3, dtype=torch.float64)
        step = torch.linalg.solve(curvature, -gradient)
        if data.loss(theta + step) < data.loss(theta):
            theta, damping = theta + step, damping / 4
        else:
            damping *= 4
    return theta


def _residual(data: _Data, theta: torch.Tensor) -> float:
    """Return the variance, in ln(tokens), of the measurements around the law; the prior counts as one at the knee.

    A measurement is off by its residual over the law's steepness there, and weighs by that steepness squared: on the
    flat ends it says nothing.
    """
    recall, slope = data.logits(theta).sigmoid(), theta[2].exp().item()
    steepness = slope * recall * (1 - recall)  # (N,) -d recall / d ln(tokens)
    at_knee = (slope / 4) ** 2
    squares = ((data.shares - recall) ** 2).sum().item() + at_knee * PRIOR.spread**2
    return squares / ((steepness**2).sum().item() + at_knee)
