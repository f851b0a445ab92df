"""The mixture prior's density is torch's, and its draws come from it."""

import math

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vae.model.priors import MixturePrior


def mixture() -> tuple[MixturePrior, MixtureSameFamily]:
    torch.manual_seed(0)
    prior = MixturePrior(3, components=4).double()
    for parameter in prior.parameters():
        parameter.data += 0.7 * torch.randn_like(parameter)
    parts = Independent(Normal(prior.means, prior.log_stds.exp()), 1)
    return prior, MixtureSameFamily(Categorical(logits=prior.logits), parts)


@torch.no_grad()
def test_the_density_is_that_of_torchs_mixture():
    prior, reference = mixture()
    z = 3 * torch.randn(5, 6, 3, dtype=torch.float64)
    constant = 1.5 * math.log(2 * math.pi)  # which it leaves out
    torch.testing.assert_close(prior.log_prob(z), reference.log_prob(z) + constant)


@torch.no_grad()
def test_the_draws_have_the_mixtures_mean_and_variance():
    prior, reference = mixture()
    count = 200_000
    noise, uniform = torch.randn(count, 3, dtype=torch.float64), torch.rand(count)
    z = prior.sample(noise, uniform.double())
    error = (reference.variance / count).sqrt()
    assert ((z.mean(0) - reference.mean).abs() < 5 * error).all()
    torch.testing.assert_close(z.var(0), reference.variance, rtol=0.03, atol=0)
