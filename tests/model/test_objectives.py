"""The bounds and their gradients agree with torch's densities and with known values."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from tests.models import random_images, small_vae
from vae import VAE
from vae.errors import Refusal
from vae.evaluation.bounds import evaluate
from vae.evaluation.proposals import refined
from vae.model import LIKELIHOODS, POSTERIORS, PRIORS
from vae.model.ladder import LadderDensity
from vae.model.likelihoods import Bernoulli
from vae.model.objectives import Terms, free_groups, loss

double = torch.float64
START = torch.tensor(0.0)


def gradient(model: VAE) -> Tensor:
    """The model's gradient, [parameters], which is cleared."""
    vector = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()
    return vector


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("draws", [1, 4])
def test_the_gradient_is_the_slope_of_the_loss(likelihood, prior, posterior, draws):
    """The loss itself is compared in tests/test_double.py."""
    network = "mlp" if likelihood == "bernoulli" else "conv"
    model = small_vae(network=network, prior=prior, posterior=posterior, likelihood=likelihood)
    x = random_images(5, levels=model.likelihood.levels)
    noise = torch.randn(draws, 5, model.architecture.latent_dim, dtype=double)
    loss(model, x, noise, START)[0].backward()
    slopes = gradient(model)
    steps = [1e-8 * torch.randn_like(parameter) for parameter in model.parameters()]
    ends = []
    for way in -1, 2:  # to either side
        for parameter, step in zip(model.parameters(), steps, strict=True):
            parameter.data += way * step
        ends.append(loss(model, x, noise, START)[0].detach())
    expected = 2 * slopes @ torch.cat([step.flatten() for step in steps])
    torch.testing.assert_close(ends[1] - ends[0], expected, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize(
    ("prior", "posterior", "draws", "estimator"),
    [
        ("standard", "gaussian", 1, "stl"),
        ("mixture", "gaussian", 3, "dreg"),
        ("standard", "flow", 3, "dreg"),
        ("standard", "ladder", 1, "stl"),
    ],
)
def test_the_estimators_have_the_same_mean(prior, posterior, draws, estimator):
    model = small_vae(prior=prior, posterior=posterior)
    count, repetitions = 100, 50
    x = random_images(1).expand(count, -1, -1, -1)  # the mean over images is one over draws
    gradients = []
    for name in ("reparameterized", estimator):
        parts = []
        for seed in range(repetitions):
            stream = torch.Generator().manual_seed(seed)
            shape = draws, count, model.architecture.latent_dim
            noise = torch.randn(shape, generator=stream, dtype=double)
            loss(model, x, noise, START, gradient=name)[0].backward()
            parts.append(gradient(model))
        gradients.append(torch.stack(parts))
    difference = gradients[0] - gradients[1]
    error = difference.std(0) / math.sqrt(repetitions)
    assert difference.abs().max() > 0  # they are not the same estimator
    deviations = difference.mean(0).abs() / error.clamp(min=1e-12)
    moved = error > 1e-12
    # Student's t with 49 degrees of freedom: beyond 3 in 0.4% of cases.
    assert (deviations[moved] > 3).double().mean() < 0.03


def test_dregs_gradient_is_that_of_draws_that_are_decoded_from_the_top(monkeypatch):
    """A ladder otherwise goes on from where its draws have come, past their weights."""
    model, gradients = small_vae(posterior="ladder"), []
    noise = torch.randn(10, 5, model.architecture.latent_dim, dtype=double)
    for _ in range(2):
        loss(model, random_images(5), noise, START, gradient="dreg")[0].backward()
        gradients.append(gradient(model))
        monkeypatch.setattr(LadderDensity, "_drew", lambda *_: False)
    torch.testing.assert_close(*gradients)


class Normals(Bernoulli):
    """Pixels with a standard deviation of 1 around the decoder's outputs."""

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        return Normal(outputs, 1).log_prob(x).flatten(-3).sum(-1)


@torch.no_grad()
def linear_gaussian(wider: float = 0.0):
    """x = W z + b + N(0, I) with orthogonal columns in W: its true posterior is diagonal. The
    model's has that posterior's mean, and e^(wider/2) times its std. → the model, x [6, 1, 4, 4],
    and log p(x).
    """
    torch.manual_seed(0)
    model = small_vae(latent_dim=2, shape=(1, 4, 4))
    model.likelihood = Normals()
    encoder, decoder = nn.Linear(16, 4), nn.Linear(2, 16)
    model.encoder = nn.Sequential(nn.Flatten(), encoder).double()
    model.decoder = nn.Sequential(decoder, nn.Unflatten(1, (1, 4, 4))).double()
    columns = torch.linalg.qr(torch.randn(16, 2, dtype=double)).Q
    weight = columns * torch.tensor([2.0, 0.7], dtype=double)
    bias = torch.randn(16, dtype=double)
    variance = 1 / (1 + weight.square().sum(0))  # of the true posterior
    decoder.weight.copy_(weight)
    decoder.bias.copy_(bias)
    encoder.weight.copy_(torch.cat([variance.unsqueeze(1) * weight.T, torch.zeros(2, 16)]))
    encoder.bias.copy_(torch.cat([-variance * (weight.T @ bias), variance.log() + wider]))
    marginal = MultivariateNormal(bias, weight @ weight.T + torch.eye(16, dtype=double))
    x = marginal.sample((6,))
    return model, x.view(6, 1, 4, 4), marginal.log_prob(x)


@torch.no_grad()
def test_at_the_true_posterior_every_weight_is_the_likelihood():
    model, x, exact = linear_gaussian()
    q = model.posterior(x)
    log_likelihood, kl = model.log_weights(x, q, q.draw(torch.randn(3, 6, 2, dtype=double)))
    torch.testing.assert_close(log_likelihood - kl, exact.expand(3, 6))


@pytest.mark.parametrize(("draws", "estimator"), [(1, "stl"), (5, "stl"), (5, "dreg")])
def test_at_the_true_posterior_the_encoder_has_no_gradient(draws, estimator):
    model, x, _ = linear_gaussian()
    noise = torch.randn(draws, 6, 2, dtype=double)
    largest = []
    for name in ("reparameterized", estimator):
        loss(model, x, noise, START, gradient=name)[0].backward()
        largest.append(model.encoder[1].bias.grad.abs().max())
        model.zero_grad()
    assert largest[0] > 1e-3  # it has noise
    assert largest[1] < 1e-12


@torch.no_grad()
def test_the_bound_rises_to_the_likelihood():
    model, x, exact = linear_gaussian(wider=0.7)
    x, exact = x.repeat(60, 1, 1, 1).float(), exact.mean().item()
    result = evaluate(model.float(), x, 1, 1500, torch.Generator().manual_seed(0))
    values = [bound.mean().mean().item() for bound in result.bounds]
    assert [bound.k for bound in result.bounds] == [1, 10, 100, 1000, 1500]
    assert [bound.groups for bound in result.bounds] == [1500, 150, 15, 1, 1]
    assert values[:3] == sorted(values[:3])
    assert values[0] < exact - 0.1
    spreads = [result.spread(bound) for bound in result.bounds]
    assert values[-1] == pytest.approx(exact, abs=5 * spreads[-1])
    assert 0 < spreads[-1] < 0.01


def test_refined_proposals_find_the_true_posterior():
    model, x, exact = linear_gaussian(wider=0.7)
    stream = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 6, 2, dtype=double)
    errors = []
    for steps in (0, 300):
        q = refined(model, x, model.posterior(x), steps, stream)
        log_likelihood, kl = model.log_weights(x, q, q.draw(noise))
        errors.append((log_likelihood - kl - exact).abs().max())
    assert errors[0] > 0.5
    assert errors[1] < 0.01
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_objective_sees_the_kl_of_dimensions_its_weight_and_the_progress():
    def weighted(t: Terms) -> Tensor:
        return t.reconstruction - t.progress * t.kl_weight * t.kl_of_dimensions.sum(-1)

    model, x, noise = small_vae(), random_images(5), torch.randn(1, 5, 3, dtype=double)
    for progress in 0.0, 0.25:
        value, terms = loss(model, x, noise, torch.tensor(progress), weighted, kl_weight=3)
        torch.testing.assert_close(value, (progress * 3 * terms[1] - terms[0]).mean())
        value, same = loss(model, x, noise, START, kl_weight=progress)
        torch.testing.assert_close(value, (progress * terms[1] - terms[0]).mean())
        torch.testing.assert_close(same, terms)


@pytest.mark.parametrize("nats", [0, 1, 2, 7])
def test_free_groups_are_the_elbo_where_each_group_costs_at_least_two_nats_on_average(nats):
    kl = torch.zeros(1, 2, 3 + 4 + 16)
    kl[..., -1] = torch.tensor([0.0, 2.0 * nats])
    of_three, log_p = SimpleNamespace(groups=[3, 4, 16]), torch.tensor([[-90.0, -110.0]])
    t = SimpleNamespace(model=of_three, reconstruction=log_p, kl_of_dimensions=kl, kl_weight=3.0)
    assert free_groups(t) == -100 - 3 * (2 + 2 + max(2, nats))


def test_free_groups_refuse_a_kl_without_a_closed_form():
    model = small_vae(posterior="flow")
    noise = torch.randn(1, 5, model.architecture.latent_dim, dtype=double)
    with pytest.raises(Refusal, match="needs the KL of each dimension in closed form"):
        loss(model, random_images(5), noise, START, objective=free_groups)
