"""Posteriors and priors are the densities of their draws, and agree with torch's own."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from tests.models import FLAT, random_images, small_vae
from vae.model import POSTERIORS
from vae.model.densities import Gaussian
from vae.model.priors import MixturePrior

double = torch.float64


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("extreme", [-1e30, -100.0, 100.0, 1e30])
def test_std_is_positive_and_finite_whatever_the_network_says(posterior, extreme):
    model = small_vae(posterior=posterior, latent_dim=2).float()
    density = model.head(torch.full((1, model.architecture.encoder_outputs), extreme))
    q = density.conditional(density.gaussian.mean) or density.gaussian  # of a ladder, its factors
    assert (q.std > 0).all()
    assert q.std.isfinite().all()
    assert q.log_std.isfinite().all()
    torch.testing.assert_close(q.std.log(), q.log_std, rtol=1e-5, atol=2e-6)
    if posterior == "bounded":
        assert (q.std <= 1).all()
        assert (q.mean.abs() <= 1).all()


def test_what_does_not_vary_has_a_finite_log_std():
    q = small_vae(posterior="flow").float().posterior(random_images(4).float())
    still = Gaussian(q.gaussian.mean, torch.zeros(4, 3), torch.zeros(4, 3))
    assert q.around(still).log_std.isfinite().all()


@torch.no_grad()
def test_a_mixtures_draws_have_its_mean_and_variance():
    torch.manual_seed(0)
    prior, count = MixturePrior(3, components=4).double(), 200_000
    for parameter in prior.parameters():
        parameter += 0.7 * torch.randn_like(parameter)
    parts = Independent(Normal(prior.means, prior.log_stds.exp()), 1)
    reference = MixtureSameFamily(Categorical(logits=prior.logits), parts)
    z = prior.sample(torch.randn(count, 3, dtype=double), torch.rand(count, dtype=double))
    error = (reference.variance / count).sqrt()
    assert ((z.mean(0) - reference.mean).abs() < 5 * error).all()
    torch.testing.assert_close(z.var(0), reference.variance, rtol=0.03, atol=0)


def test_a_component_that_becomes_narrow_keeps_finite_gradients():
    prior = MixturePrior(3, components=4)
    prior.log_stds.data[0] = -12
    prior.log_prob(torch.randn(5, 3)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in prior.parameters())


@pytest.mark.parametrize("posterior", FLAT)
def test_a_density_integrates_to_one_and_its_draws_come_from_it(posterior):
    q = small_vae(posterior=posterior, latent_dim=2).encode(random_images(1))
    torch.manual_seed(0)
    draws = q.draw(torch.randn(30_000, 1, 2, dtype=double))[:, 0]
    mean, std = draws.mean(0), draws.std(0)
    line = torch.linspace(-1, 1, 201, dtype=double)
    z = mean + 10 * std * torch.cartesian_prod(line, line)
    cell = (10 * std).prod() * (line[1] - line[0]) ** 2
    mass = (q.log_prob(z.unsqueeze(1))[:, 0].exp() / (2 * math.pi) * cell).unsqueeze(1)
    assert mass.sum().item() == pytest.approx(1, abs=1e-3)
    expected = (mass * z).sum(0)
    covariance = (mass * (z - expected)).T @ (z - expected)
    assert ((mean - expected).abs() < 5 * covariance.diag().div(len(draws)).sqrt()).all()
    error = 0.05 * covariance.diag().prod().sqrt().item()
    torch.testing.assert_close(draws.T.cov(), covariance, rtol=0.05, atol=error)

    # What `encode` gives says so, too, as NumPy can read it; of a flow, from a hundred draws.
    error, close = (0.1, 0.35) if posterior == "flow" else (0.01, 0.05)
    assert np.allclose(np.asarray(q.mean)[0], mean, atol=5 * error * std.min())
    assert np.allclose(np.asarray(q.std)[0], std, rtol=close)
    assert np.allclose(np.log(np.asarray(q.std)), np.asarray(q.log_std), atol=1e-6)
    torch.testing.assert_close(q.center, q.draw(torch.zeros(1, 1, 2, dtype=double))[0])
