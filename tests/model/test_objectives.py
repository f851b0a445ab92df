"""The bounds and their gradients agree with torch's densities and with known values."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from tests.models import POSTERIORS, random_images, small_vae
from vae import VAE
from vae.evaluation.bounds import evaluate
from vae.evaluation.proposals import refined
from vae.model import NETWORKS, PRIORS
from vae.model.architecture import Architecture
from vae.model.networks.mlp import MLP
from vae.model.objectives import elbo_terms, log_weights, loss
from vae.model.posteriors import Bent

double = torch.float64


def gradient(model: VAE) -> torch.Tensor:
    """The model's gradient, [parameters], which is cleared."""
    vector = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    return vector


def by_torch(model: VAE, x: torch.Tensor, noise: torch.Tensor):
    """log p(x|z) [K, N], log p(z) − log q(z|x) [K, N] and q(z|x), by torch's own functions."""
    posterior = model.posterior(x)
    mean, std, _ = posterior.gaussian
    q = Normal(mean, std)
    z = mean + std * noise
    log_q = q.log_prob(z).sum(-1)
    if isinstance(posterior, Bent):
        z, log_q = bent_by_torch(posterior, z, log_q)
    x = x.expand(len(noise), -1, -1)
    cross_entropy = F.binary_cross_entropy_with_logits(model.decode(z), x, reduction="none")
    constant = 0.5 * math.log(2 * math.pi) * mean.shape[-1]  # which the priors leave out
    return -cross_entropy.sum(-1), model.prior.log_prob(z) - constant - log_q, q


def bent_by_torch(posterior: Bent, u: torch.Tensor, log_q: torch.Tensor):
    """Draws u [K, N, latent] of a Gaussian after its flow, and their density by the flow's
    Jacobian, which torch finds.
    """

    def total(u: torch.Tensor) -> torch.Tensor:
        return posterior.flow.bend(u, posterior.context).sum((0, 1))  # no draw depends on another

    jacobian = torch.autograd.functional.jacobian(total, u, create_graph=True)
    stretch = jacobian.permute(1, 2, 0, 3).det().abs().log()
    return posterior.flow.bend(u, posterior.context), log_q - stretch


@pytest.mark.parametrize("network", list(NETWORKS))
@pytest.mark.parametrize("prior", list(PRIORS))
@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("draws", [1, 4])
def test_the_loss_is_minus_the_bound_of_its_draws(network, prior, posterior, draws):
    model = small_vae(network=network, prior=prior, posterior=posterior, residual=True)
    x, noise = random_images(5), torch.randn(draws, 5, 3, dtype=double)
    likelihood, log_ratio, q = by_torch(model, x, noise)
    if draws == 1 and prior == "standard" and posterior != "flow":  # whose KL is exact
        log_ratio = -kl_divergence(q, Normal(0.0, 1.0)).sum(-1, keepdim=True).T
    expected = -((likelihood + log_ratio).logsumexp(0) - math.log(draws)).mean()
    expected.backward()
    gradient_of_torch = gradient(model)
    value, reconstruction, kl = loss(model, x, noise, 1.0, "reparameterized")
    value.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient(model), gradient_of_torch, rtol=1e-8, atol=1e-11)
    torch.testing.assert_close(reconstruction, likelihood.detach().mean(0))
    torch.testing.assert_close(kl, -log_ratio.detach().mean(0))


def test_kl_weight_scales_the_kl_in_the_loss_and_nothing_that_is_reported():
    model, x, noise = small_vae(), random_images(5), torch.randn(1, 5, 3, dtype=double)
    _, reconstruction, kl = loss(model, x, noise, 1.0, "reparameterized")
    for weight in (0.0, 2.5):
        value, *reported = loss(model, x, noise, weight, "reparameterized")
        torch.testing.assert_close(value, (weight * kl - reconstruction).mean())
        torch.testing.assert_close(reported, [reconstruction, kl])


@pytest.mark.parametrize("prior", list(PRIORS))
@torch.no_grad()
def test_weights_and_elbo_are_those_of_the_densities(prior):
    model, x = small_vae(prior=prior), random_images(5)
    noise = torch.randn(2, 5, 3, dtype=double)
    q = model.posterior(x)
    likelihood, log_ratio, _ = by_torch(model, x, noise)
    torch.testing.assert_close(log_weights(model, x, q, q.draw(noise)), (likelihood, -log_ratio))
    if prior != "standard":
        torch.testing.assert_close(elbo_terms(model, x, q, q.draw(noise)), (likelihood, -log_ratio))


@pytest.mark.parametrize(
    ("prior", "posterior"),
    [("standard", "gaussian"), ("mixture", "gaussian"), ("standard", "flow")],
)
@pytest.mark.parametrize(("draws", "estimator"), [(1, "stl"), (3, "dreg")])
def test_the_estimators_have_the_same_mean(prior, posterior, draws, estimator):
    model = small_vae(prior=prior, posterior=posterior)
    count = 500
    x = random_images(1).expand(count, -1)  # the mean over images is one over draws
    gradients = []
    for name in ("reparameterized", estimator):
        parts = []
        for seed in range(10):
            stream = torch.Generator().manual_seed(seed)
            noise = torch.randn(draws, count, 3, generator=stream, dtype=double)
            loss(model, x, noise, 1.0, name)[0].backward()
            parts.append(gradient(model))
        gradients.append(torch.stack(parts))
    difference = gradients[0] - gradients[1]
    error = difference.std(0) / math.sqrt(len(difference))
    assert difference.abs().max() > 0  # they are not the same estimator
    deviations = difference.mean(0).abs() / error.clamp(min=1e-12)
    moved = error > 1e-12
    # Student's t with 9 degrees of freedom: beyond 3 in 1.5% of cases.
    assert (deviations[moved] > 3).double().mean() < 0.06


@torch.no_grad()
def linear_gaussian(latent: int = 2, pixels: int = 16):
    """x = W z + b + N(0, I) with orthogonal columns in W: its true posterior is diagonal."""
    torch.manual_seed(0)
    model = VAE(Architecture((8,), latent, "gaussian"))
    model.encoder, model.decoder = MLP(pixels, 2 * latent), MLP(latent, pixels)
    model.double()
    columns = torch.linalg.qr(torch.randn(pixels, latent, dtype=double)).Q
    weight = columns * torch.tensor([2.0, 0.7], dtype=double)
    bias = torch.randn(pixels, dtype=double)
    variance = 1 / (1 + weight.square().sum(0))  # of the true posterior
    model.decoder[0].weight.copy_(weight)
    model.decoder[0].bias.copy_(bias)
    model.encoder[0].weight[:latent] = variance.unsqueeze(1) * weight.T
    model.encoder[0].bias[:latent] = -variance * (weight.T @ bias)
    model.encoder[0].weight[latent:] = 0
    model.encoder[0].bias[latent:] = variance.log()
    covariance = weight @ weight.T + torch.eye(pixels, dtype=double)
    return model, torch.distributions.MultivariateNormal(bias, covariance)


@pytest.fixture(autouse=True)
def sixteen_pixels(request, monkeypatch):
    """Replaces the Bernoulli pixels by Gaussian ones of variance 1."""
    if "gaussian" in request.keywords:
        monkeypatch.setattr("vae.model.vae.PIXELS", 16)
        monkeypatch.setattr(
            "vae.model.objectives.bernoulli",
            lambda x, mean: -0.5 * ((x - mean).square() + math.log(2 * math.pi)).sum(-1),
        )


@pytest.mark.gaussian
@torch.no_grad()
def test_at_the_true_posterior_every_weight_is_the_likelihood():
    model, marginal = linear_gaussian()
    x = marginal.sample((6,))
    q = model.posterior(x)
    likelihood, kl = log_weights(model, x, q, q.draw(torch.randn(3, 6, 2, dtype=double)))
    torch.testing.assert_close(likelihood - kl, marginal.log_prob(x).expand(3, 6))
    reconstruction, kl = elbo_terms(model, x, q, q.draw(torch.randn(50_000, 6, 2, dtype=double)))
    error = reconstruction.std(0) / math.sqrt(len(reconstruction))
    assert ((reconstruction.mean(0) - kl[0] - marginal.log_prob(x)).abs() < 5 * error).all()


@pytest.mark.gaussian
@pytest.mark.parametrize(("draws", "estimator"), [(1, "stl"), (5, "stl"), (5, "dreg")])
def test_at_the_true_posterior_the_encoder_has_no_gradient(draws, estimator):
    model, marginal = linear_gaussian()
    x, noise = marginal.sample((6,)), torch.randn(draws, 6, 2, dtype=double)
    largest = []
    for name in ("reparameterized", estimator):
        model.zero_grad()
        density = log_weights if draws == 1 and name == "reparameterized" else None
        if density:  # the exact KL has less noise: take the density's own
            q = model.posterior(x)
            likelihood, kl = density(model, x, q, q.draw(noise))
            (kl - likelihood).mean().backward()
        else:
            loss(model, x, noise, 1.0, name)[0].backward()
        largest.append(model.encoder[0].bias.grad.abs().max())
    assert largest[0] > 1e-3  # it has noise
    assert largest[1] < 1e-12


@pytest.mark.gaussian
@torch.no_grad()
def test_the_bound_rises_to_the_likelihood():
    model, marginal = linear_gaussian()
    x = marginal.sample((400,)).float()
    model.encoder[0].bias[2:] += 0.7  # a posterior that is too wide
    result = evaluate(model.float(), x, 1, 2000, torch.Generator().manual_seed(0))
    values = [bound.mean().mean().item() for bound in result.bounds]
    assert [bound.k for bound in result.bounds] == [1, 10, 100, 1000, 2000]
    exact = marginal.log_prob(x.double()).mean().item()
    assert values[:3] == sorted(values[:3])
    assert values[0] < exact - 0.1
    assert values[-1] == pytest.approx(exact, abs=5 * result.spread(result.bounds[-1]))
    assert result.spread(result.bounds[-1]) < 0.01
    assert 100 < result.effective_samples.median() < 2000


@pytest.mark.gaussian
def test_refined_proposals_find_the_true_posterior():
    model, marginal = linear_gaussian()
    x = marginal.sample((6,))
    model.encoder[0].bias.data[2:] += 0.7  # a posterior that is too wide
    stream = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 6, 2, dtype=double)
    errors = []
    for steps in (0, 300):
        q = refined(model, x, model.posterior(x), steps, stream)
        likelihood, kl = log_weights(model, x, q, q.draw(noise))
        errors.append((likelihood - kl - marginal.log_prob(x)).abs().max())
    assert errors[0] > 0.5
    assert errors[1] < 0.01
    assert all(parameter.grad is None for parameter in model.parameters())
