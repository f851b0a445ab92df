"""The importance-weighted objective: its gradient is autograd's, and its estimators agree."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal

from stages.gradients import bound_gradient
from stages.measure import evaluate
from stages.mlp import MLP, FlatAdam
from stages.priors import PRIORS
from stages.vae import VAE, Architecture, elbo_terms, log_weight
from tests.models import POSTERIORS, encode, random_images


def with_prior(prior: str, posterior: str = "gaussian", residual: bool = False) -> VAE:
    torch.manual_seed(1)
    return VAE(Architecture((10, 10), 3, posterior, prior, residual)).double()


def log_weights(model: VAE, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """[K, N], by torch's own densities, for autograd."""
    mean, std, _ = encode(model, x)
    z = mean + std * noise
    likelihood = -F.binary_cross_entropy_with_logits(
        model.decode(z), x.expand(len(noise), -1, -1), reduction="none"
    )
    constant = 0.5 * math.log(2 * math.pi) * mean.shape[-1]
    log_prior = model.prior.log_prob(z) - constant
    return likelihood.sum(-1) + log_prior - Normal(mean, std).log_prob(z).sum(-1)


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("prior", list(PRIORS))
@pytest.mark.parametrize(("draws", "residual"), [(1, False), (4, False), (4, True)])
def test_the_gradient_is_that_of_the_bound(posterior, prior, draws, residual):
    model, x = with_prior(prior, posterior, residual), random_images(5)
    noise = torch.randn(draws, 5, 3, dtype=torch.float64)
    weights = log_weights(model, x, noise)
    (-(weights.logsumexp(0) - math.log(draws)).mean()).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    optimizer = FlatAdam(model)
    with torch.inference_mode():
        reconstruction, kl = bound_gradient(model, x, noise, 1.0, "reparameterized")
    torch.testing.assert_close(optimizer.gradient, expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(reconstruction - kl, weights.detach().mean(0))


@pytest.mark.parametrize("prior", list(PRIORS))
@torch.no_grad()
def test_log_weight_and_elbo_terms_are_the_densities_own(prior):
    model, x = with_prior(prior), random_images(5)
    noise = torch.randn(5, 3, dtype=torch.float64)
    posterior = encode(model, x)
    expected = log_weights(model, x, noise.unsqueeze(0))[0]
    torch.testing.assert_close(log_weight(model, x, *posterior, noise), expected)
    if prior != "standard":  # whose KL is exact
        reconstruction, kl = elbo_terms(model, x, *posterior, noise)
        torch.testing.assert_close(reconstruction - kl, expected)


@pytest.mark.parametrize("prior", list(PRIORS))
@pytest.mark.parametrize(("draws", "estimator"), [(1, "stl"), (3, "dreg")])
@torch.no_grad()
def test_the_estimators_have_the_same_mean(prior, draws, estimator):
    model = with_prior(prior)
    count = 500
    x = random_images(1).expand(count, -1)  # the mean over images is one over draws
    optimizer = FlatAdam(model)
    gradients = []
    for name in ("reparameterized", estimator):
        parts = []
        for seed in range(10):
            stream = torch.Generator().manual_seed(seed)
            shape = draws, count, 3
            noise = torch.randn(shape, generator=stream, dtype=torch.float64)
            bound_gradient(model, x, noise, 1.0, name)
            parts.append(optimizer.gradient.clone())
        gradients.append(torch.stack(parts))
    difference = gradients[0] - gradients[1]
    error = difference.std(0) / math.sqrt(len(difference))
    assert difference.abs().max() > 0  # they are not the same estimator
    deviations = difference.mean(0).abs() / error.clamp(min=1e-12)
    moved = error > 1e-12
    # Student's t with 9 degrees of freedom: beyond 3 in 1.5% of cases.
    assert (deviations[moved] > 3).double().mean() < 0.06


def linear_gaussian(latent: int = 2, pixels: int = 16):
    """x = W z + b + N(0, I) with orthogonal columns in W: its true posterior is diagonal."""
    torch.manual_seed(0)
    model = VAE(Architecture((8,), latent, "gaussian"))
    model.encoder, model.decoder = MLP(pixels, 2 * latent), MLP(latent, pixels)
    model.double()
    columns = torch.linalg.qr(torch.randn(pixels, latent, dtype=torch.float64)).Q
    weight = columns * torch.tensor([2.0, 0.7], dtype=torch.float64)
    bias = torch.randn(pixels, dtype=torch.float64)
    variance = 1 / (1 + weight.square().sum(0))  # of the true posterior
    with torch.no_grad():
        model.decoder[0].weight.copy_(weight)
        model.decoder[0].bias.copy_(bias)
        model.encoder[0].weight[:latent] = variance.unsqueeze(1) * weight.T
        model.encoder[0].bias[:latent] = -variance * (weight.T @ bias)
        model.encoder[0].weight[latent:] = 0
        model.encoder[0].bias[latent:] = variance.log()
    covariance = weight @ weight.T + torch.eye(pixels, dtype=torch.float64)
    return model, torch.distributions.MultivariateNormal(bias, covariance)


@pytest.fixture
def gaussian_pixels(monkeypatch):
    """Unit-variance Gaussian pixels in the place of Bernoulli ones."""

    def log_density(x, mean):
        return -0.5 * ((x - mean).square() + math.log(2 * math.pi)).sum(-1)

    monkeypatch.setattr("stages.vae.bernoulli", log_density)
    monkeypatch.setattr(
        "stages.gradients.bernoulli_and_gradient", lambda x, mean: (log_density(x, mean), x - mean)
    )


@torch.no_grad()
def test_at_the_true_posterior_every_weight_is_the_likelihood(gaussian_pixels):
    model, marginal = linear_gaussian()
    x = marginal.sample((6,))
    noise = torch.randn(6, 2, dtype=torch.float64)
    mean, std, log_std = encode(model, x)
    torch.testing.assert_close(
        log_weight(model, x, mean, std, log_std, noise), marginal.log_prob(x)
    )
    many = torch.randn(50_000, 6, 2, dtype=torch.float64)
    draws = torch.stack([elbo_terms(model, x, mean, std, log_std, eps)[0] for eps in many])
    _, kl = elbo_terms(model, x, mean, std, log_std, noise)
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - kl - marginal.log_prob(x)).abs() < 5 * error).all()


@pytest.mark.parametrize(("draws", "estimator"), [(1, "stl"), (5, "stl"), (5, "dreg")])
@torch.no_grad()
def test_at_the_true_posterior_the_encoder_has_no_gradient(gaussian_pixels, draws, estimator):
    model, marginal = linear_gaussian()
    x = marginal.sample((6,))
    FlatAdam(model)
    noise = torch.randn(draws, 6, 2, dtype=torch.float64)
    bound_gradient(model, x, noise, 1.0, "reparameterized")
    assert model.encoder[0].bias.grad.abs().max() > 1e-3  # it has noise
    bound_gradient(model, x, noise, 1.0, estimator)
    assert model.encoder[0].bias.grad.abs().max() < 1e-12


@torch.no_grad()
def test_the_bound_rises_to_the_likelihood(gaussian_pixels, monkeypatch):
    model, marginal = linear_gaussian()
    x = marginal.sample((400,)).float()
    model.encoder[0].bias[2:] += 0.7  # a posterior that is too wide
    monkeypatch.setattr(VAE, "rows", lambda model, x: x)  # these pixels are not binary
    result = evaluate(model.float(), x, 1, 2000, torch.Generator().manual_seed(0))
    values = [bound.mean().mean().item() for bound in result.bounds]
    assert [bound.k for bound in result.bounds] == [1, 10, 100, 1000, 2000]
    exact = marginal.log_prob(x.double()).mean().item()
    assert values[:3] == sorted(values[:3])
    assert values[0] < exact - 0.1
    assert values[-1] == pytest.approx(exact, abs=5 * result.spread(result.bounds[-1]))
    assert result.spread(result.bounds[-1]) < 0.01
    assert 100 < result.effective_samples.median() < 2000
