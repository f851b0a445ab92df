"""The bounds: every number is the quantity its name says."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from stages.densities import bernoulli, bernoulli_and_gradient, gaussian_kl, log_add_exp
from stages.measure import active_units, evaluate
from stages.statistics import mean_and_stderr
from stages.vae import PIXELS, VAE, Architecture, elbo_terms, log_weight
from tests.models import POSTERIORS, encode, random_images, small_vae


@pytest.mark.parametrize("posterior", POSTERIORS)
@torch.no_grad()
def test_kl_is_the_mean_log_ratio_of_the_densities(posterior):
    mean, std, log_std = encode(small_vae(posterior), random_images(4))
    q, p = torch.distributions.Normal(mean, std), torch.distributions.Normal(0, 1)
    z = q.sample((200_000,))
    log_ratio = (q.log_prob(z) - p.log_prob(z)).sum(-1)
    stderr = log_ratio.std(0) / math.sqrt(len(z))
    assert ((gaussian_kl(mean, std, log_std) - log_ratio.mean(0)).abs() < 5 * stderr).all()
    exact = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(gaussian_kl(mean, std, log_std), exact)


def test_kl_is_zero_at_the_prior():
    zero, one = torch.zeros(5, 12), torch.ones(5, 12)
    assert gaussian_kl(zero, one, zero).tolist() == [0.0] * 5


def test_bernoulli_log_likelihood_and_its_gradient():
    x = random_images(6)
    logits = (20 * torch.randn(6, PIXELS, dtype=torch.float64)).requires_grad_()
    expected = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
    value, gradient = bernoulli_and_gradient(x, logits.detach().clone())
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), logits)[0])
    single = bernoulli(x.float(), logits.detach().float())
    torch.testing.assert_close(single.double(), value, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("magnitude", [1e2, 1e4, 1e30])
def test_extreme_logits_stay_finite_and_right(magnitude):
    x = random_images(3).float()
    logits = magnitude * (2 * x - 1)
    value, gradient = bernoulli_and_gradient(x, logits.clone())
    assert value.tolist() == [0.0] * 3
    assert not gradient.any()
    value, gradient = bernoulli_and_gradient(x, -logits)
    torch.testing.assert_close(value, torch.full((3,), -magnitude * PIXELS))
    assert torch.equal(gradient, 2 * x - 1)


def quadrature(model: VAE, x: torch.Tensor, points: int = 4001):
    """ELBO and log p(x) of a VAE with one latent dimension, by the trapezoidal rule."""
    z = torch.linspace(-12, 12, points, dtype=torch.float64).unsqueeze(1)
    log_likelihood = -F.binary_cross_entropy_with_logits(
        model.decode(z).unsqueeze(1).expand(-1, len(x), -1),
        x.expand(points, -1, -1), reduction="none",
    ).sum(-1)  # fmt: skip  # [points, N]
    mean, std, _ = encode(model, x)
    log_prior = torch.distributions.Normal(0, 1).log_prob(z)
    log_posterior = torch.distributions.Normal(mean.T, std.T).log_prob(z)
    step = 24 / (points - 1)
    elbo = (log_posterior.exp() * (log_likelihood + log_prior - log_posterior)).sum(0) * step
    log_p = (log_likelihood + log_prior).logsumexp(0) + math.log(step)
    return elbo, log_p


@pytest.mark.parametrize("posterior", POSTERIORS)
@torch.no_grad()
def test_elbo_and_bound_agree_with_quadrature(posterior):
    model, x = small_vae(posterior, latent_dim=1, spread=0.3), random_images(3)
    elbo, log_p = quadrature(model, x)
    assert (log_p > elbo).all()
    count = 20_000
    many = x.repeat_interleave(count, 0)
    noise = torch.randn(len(many), 1, dtype=torch.float64)
    mean, std, log_std = encode(model, many)

    reconstruction, kl = elbo_terms(model, many, mean, std, log_std, noise)
    draws = (reconstruction - kl).view(3, count)
    stderr = draws.std(1) / math.sqrt(count)
    assert ((draws.mean(1) - elbo).abs() < 5 * stderr).all()

    log_weights = log_weight(model, many, mean, std, log_std, noise).view(3, count)
    weights = (log_weights - log_p.unsqueeze(1)).exp()  # their mean over all draws is exactly 1
    stderr = weights.std(1) / math.sqrt(count)
    assert (stderr < 0.1).all()
    assert ((weights.mean(1) - 1).abs() < 5 * stderr).all()

    bounds = [log_weights.view(3, -1, k).logsumexp(2) - math.log(k) for k in (1, 10, 100, 1000)]
    for lower, higher in pairwise(bounds):
        assert (lower.mean(1) < higher.mean(1)).all()
    stderr = bounds[-1].std(1) / math.sqrt(bounds[-1].shape[1])
    assert (bounds[-1].mean(1) < log_p + 5 * stderr).all()
    assert (log_p - bounds[-1].mean(1) < 0.1 * (log_p - elbo) + 5 * stderr).all()


def test_weights_add_up_in_their_logarithms():
    weights = torch.randn(50, 7, dtype=torch.float64) * 30 - 900
    total = torch.full((7,), -math.inf, dtype=torch.float64)
    for weight in weights:
        total = log_add_exp(total, weight)
    torch.testing.assert_close(total, weights.logsumexp(0))


@torch.no_grad()
def test_noise_is_independent_over_images_and_dimensions(monkeypatch):
    """The original's defect: one scalar an image. Seen from outside: in what the decoder gets."""
    model = VAE(Architecture([8], 4, "gaussian"))
    latents = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda z: latents.append(z) or decode(z))
    evaluate(model, torch.zeros(500, PIXELS), 200, 1, torch.Generator().manual_seed(0))
    z = torch.stack(
        latents[:200]
    )  # [draws, images, latent]; the same image throughout: all variation is the noise's
    z = (z - z.mean((0, 1))) / z.std((0, 1))
    over_dimensions = z.flatten(0, 1).T.corrcoef()
    over_images = z[:, :50, 0].T.corrcoef()
    for correlation, limit in (over_dimensions, 0.02), (over_images, 0.4):
        assert (correlation - torch.eye(len(correlation))).abs().max() < limit


@torch.no_grad()
def test_evaluation_does_not_depend_on_how_many_images_go_together(monkeypatch):
    model, x = small_vae().float(), random_images(50)
    results = []
    for block in (50, 7):
        monkeypatch.setattr("stages.dataset.BLOCK", block)
        results.append(evaluate(model, x, 3, 5, torch.Generator().manual_seed(0)))
    for name in "reconstruction", "kl", "log_likelihood", "effective_samples":
        whole, in_parts = (getattr(result, name) for result in results)
        torch.testing.assert_close(whole, in_parts, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_evaluation_gives_the_elbo_and_a_bound_above_it():
    model, x = small_vae(latent_dim=1, spread=0.3), random_images(20)
    elbo, log_p = quadrature(model, x)
    result = evaluate(model.float(), x, 200, 2000, torch.Generator().manual_seed(0))
    ours = (result.reconstruction - result.kl).mean()
    torch.testing.assert_close(ours, elbo.mean(), rtol=0, atol=0.3)
    torch.testing.assert_close(result.log_likelihood.mean(), log_p.mean(), rtol=0, atol=0.05)


def test_active_units_counts_dimensions_that_the_data_moves():
    means = torch.zeros(1000, 4)
    means[:, 1] = torch.linspace(-1, 1, 1000)
    means[:, 2] = 0.05 * torch.linspace(-1, 1, 1000)  # variance 0.0008
    means[:, 3] = 5.0
    assert active_units(means) == 1


def test_mean_and_stderr_are_exact_in_any_order():
    values = torch.cat([torch.full((999,), 1e8), torch.full((999,), -1e8), torch.ones(2)])
    shuffled = values[torch.randperm(len(values))]
    assert mean_and_stderr(values) == mean_and_stderr(shuffled)
    assert mean_and_stderr(values)[0] == round(2 / 2000, 4)
    assert mean_and_stderr(torch.tensor([1.0, 2.0, 3.0, 4.0])) == (2.5, 0.6455)
