"""Densities agree with torch's own, also at the extremes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from tests.models import random_images
from vae.model.architecture import PIXELS
from vae.model.densities import (
    Gaussian,
    bernoulli,
    exp,
    gaussian_kl,
    log_add_exp,
    log_mean_exp,
    log_sum_exp,
)


def gaussian() -> Gaussian:
    mean, log_std = torch.randn(2, 4, 3, dtype=torch.float64)
    return Gaussian(mean, log_std.exp(), log_std)


def test_the_gaussian_density_is_torchs():
    q = gaussian()
    z = q.draw(torch.randn(5, 4, 3, dtype=torch.float64))
    constant = 1.5 * math.log(2 * math.pi)  # which it leaves out
    torch.testing.assert_close(q.log_prob(z) - constant, Normal(*q[:2]).log_prob(z).sum(-1))


def test_the_kl_is_torchs_and_zero_at_the_prior():
    q = gaussian()
    expected = kl_divergence(Normal(*q[:2]), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(gaussian_kl(q), expected)
    zero, one = torch.zeros(5, 12), torch.ones(5, 12)
    assert gaussian_kl(Gaussian(zero, one, zero)).tolist() == [0.0] * 5


def test_the_bernoulli_term_and_its_gradient_are_torchs():
    x = random_images(6)
    logits = (20 * torch.randn(6, PIXELS, dtype=torch.float64)).requires_grad_()
    expected = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
    value = bernoulli(x, logits)
    torch.testing.assert_close(value, expected)
    gradients = [torch.autograd.grad(terms.sum(), logits)[0] for terms in (value, expected)]
    torch.testing.assert_close(*gradients)
    single = bernoulli(x.float(), logits.detach().float())
    torch.testing.assert_close(single.double(), value.detach(), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("magnitude", [0.0, 1e2, 1e4, 1e30])
def test_extreme_logits_stay_finite_and_right(magnitude):
    x = random_images(3).float()
    for sign in (1, -1):
        logits = (sign * magnitude * (2 * x - 1)).requires_grad_()
        value = bernoulli(x, logits)
        value.sum().backward()
        loss = 0.0 if sign == 1 else -magnitude
        expected = math.log(0.5) if magnitude == 0 else loss
        torch.testing.assert_close(value, torch.full((3,), expected * PIXELS))
        certainty = 0.5 if magnitude == 0 else 0.0 if sign == 1 else 1.0  # |x − σ(l)|
        torch.testing.assert_close(logits.grad, certainty * (2 * x - 1), rtol=0, atol=1e-40)


def test_exp_is_as_good_as_torchs():
    x = torch.linspace(-80, 80, 100_001)
    torch.testing.assert_close(exp(x).double(), x.double().exp(), rtol=1e-6, atol=0)
    assert exp(torch.tensor([-1e5, -torch.inf])).tolist() == [0, 0]


def test_sums_of_weights_are_taken_of_their_logarithms():
    logs = torch.randn(50, 7, dtype=torch.float64) * 30 - 900
    total = torch.full((7,), -math.inf, dtype=torch.float64)
    for log in logs:
        total = log_add_exp(total, log)
    torch.testing.assert_close(total, logs.logsumexp(0))
    torch.testing.assert_close(log_sum_exp(logs), logs.logsumexp(-1))
    torch.testing.assert_close(log_mean_exp(logs), logs.logsumexp(0) - math.log(50))
