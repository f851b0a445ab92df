"""The bounds: every number is the quantity its name says."""

import math
from dataclasses import replace

import pytest
import torch

from tests.models import new_run, prepared, random_images, small_vae
from vae import VAE
from vae.evaluation.bounds import ACTIVE_VARIANCE, evaluate, units
from vae.images import Images
from vae.model import POSTERIORS
from vae.model.densities import gaussian_kl
from vae.model.objectives import loss
from vae.training.loop import train_epoch
from vae.training.steps import Plain


def one_dimensional(posterior: str, likelihood: str) -> tuple[VAE, Images]:
    """A model whose posterior is near the true one, so that weights vary little; three images."""
    shape = (1, 8, 8) if likelihood == "bernoulli" else (1, 4, 4)
    model = small_vae(posterior=posterior, latent_dim=1, likelihood=likelihood, shape=shape)
    images = prepared(3, shape, model.likelihood.levels)
    for weights in [model.decoder[0][-1].weight, *model.head.parameters()]:
        weights.data *= 0.3 if likelihood == "bernoulli" else 0.1
    x, fitted = model.scaled(images.pixels).double(), [model.encoder, model.head]
    optimizer = torch.optim.Adam([p for part in fitted for p in part.parameters()], lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        noise = torch.randn(10, 3, 1, dtype=torch.float64)
        loss(model, x, noise, torch.tensor(0.0))[0].backward()
        optimizer.step()
    return model, images


def quadrature(model: VAE, x: torch.Tensor, points: int = 1001):
    """ELBO and log p(x) of a VAE with one latent dimension, by the trapezoidal rule."""
    z = torch.linspace(-12, 12, points, dtype=torch.float64).view(-1, 1, 1).expand(-1, len(x), 1)
    log_likelihood = model.likelihood.log_prob(x, model.outputs(z))  # [points, N]
    log_prior = torch.distributions.Normal(0, 1).log_prob(z).squeeze(-1)
    log_posterior = model.posterior(x).log_prob(z) - 0.5 * math.log(2 * math.pi)
    step = 24 / (points - 1)
    torch.testing.assert_close(log_posterior.exp().sum(0) * step, torch.ones(len(x)).double())
    elbo = (log_posterior.exp() * (log_likelihood + log_prior - log_posterior)).sum(0) * step
    log_p = (log_likelihood + log_prior).logsumexp(0) + math.log(step)
    return elbo, log_p


@pytest.mark.parametrize(
    ("posterior", "likelihood"),
    [("bounded", "bernoulli"), ("gaussian", "logistic"), ("flow", "bernoulli")],
)
def test_elbo_and_bound_agree_with_quadrature(posterior, likelihood):
    model, images = one_dimensional(posterior, likelihood)
    model.requires_grad_(False)
    x, count = model.scaled(images.pixels).double(), 4_000
    elbo, log_p = quadrature(model, x)
    assert (log_p > elbo).all()
    q = model.posterior(x)
    z = q.draw(torch.randn(count, 3, 1, dtype=torch.float64))

    reconstruction, kl = model.elbo_terms(x, q, z)
    draws = reconstruction - kl  # [count, 3]
    stderr = draws.std(0) / math.sqrt(count)
    assert ((draws.mean(0) - elbo).abs() < 5 * stderr).all()

    reconstruction, kl = model.log_weights(x, q, z)
    log_w = reconstruction - kl
    weights = (log_w - log_p).exp()  # their mean over all draws is exactly 1
    stderr = weights.std(0) / math.sqrt(count)
    assert (stderr < 0.1).all()
    assert ((weights.mean(0) - 1).abs() < 5 * stderr).all()


def test_noise_of_training_is_independent_over_images_and_dimensions():
    """The original had one noise scalar an image."""
    run, noises = new_run(prepared(2), {"latent_dim": 4}, batch_size=500), []

    class Noted(Plain):
        def __call__(self, pixels, noise, *_):
            noises.append(noise[0])
            return torch.zeros(2, 500)

    run.step = Noted(run.model, run.optimizer, run.settings)
    pixels = torch.zeros(200 * 500, 1, 8, 8, dtype=torch.uint8)
    train_epoch(run, pixels, torch.Generator().manual_seed(0), 1)
    z = torch.stack(noises)  # [draws, images, latent]
    assert z.std().item() == pytest.approx(1, abs=0.01)
    over_dimensions = z.flatten(0, 1).T.corrcoef()
    over_images = z[:, :50, 0].T.corrcoef()
    for correlation, limit in (over_dimensions, 0.02), (over_images, 0.4):
        assert (correlation - torch.eye(len(correlation))).abs().max() < limit


def test_evaluation_does_not_depend_on_how_many_images_go_together(monkeypatch):
    model, pixels, results = small_vae().float(), prepared(50).pixels, []
    for block in (50, 7):
        monkeypatch.setattr("vae.images.BLOCK", block)
        results.append(evaluate(model, pixels, 3, 5, torch.Generator().manual_seed(0)))
    for name in "reconstruction", "kl", "log_likelihood", "effective_samples":
        whole, in_parts = (getattr(result, name) for result in results)
        torch.testing.assert_close(whole, in_parts, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_refined_proposals_raise_the_bound_and_leave_the_elbo(posterior):
    model, pixels = small_vae(posterior=posterior).float(), prepared(50).pixels
    for name, parameter in model.named_parameters():
        if "head." in name:
            parameter.data *= 0.2
        elif "posterior.2.bias" in name:  # of a ladder
            parameter.data += 1
    before, after = (
        evaluate(model, pixels, 3, 10, torch.Generator().manual_seed(0), steps) for steps in (0, 99)
    )
    assert torch.equal(before.kl, after.kl)
    assert torch.equal(before.reconstruction, after.reconstruction)
    assert after.log_likelihood.mean() > before.log_likelihood.mean() + 0.2


@pytest.mark.parametrize("posterior", ["gaussian", "ladder"])
def test_the_kls_of_the_dimensions_add_up_to_the_models(posterior):
    model = small_vae(posterior=posterior).float()
    result = evaluate(model, prepared(300).pixels, 20, 1, torch.Generator().manual_seed(0))
    kl = result.kl_of_dimensions.double().sum(1)  # of a ladder, at one draw
    error = (kl - result.kl).std().item() / math.sqrt(len(kl))
    assert kl.mean().item() == pytest.approx(result.kl.mean().item(), abs=5 * error + 1e-5)


def test_units_are_active_if_the_data_moves_them():
    mean = torch.zeros(1000, 4)
    mean[:, 1] = torch.linspace(-1, 1, 1000)
    mean[:, 2] = 0.17 * torch.linspace(-1, 1, 1000)
    mean[:, 3] = 5.0
    q = replace(small_vae(latent_dim=4).encode(random_images(1)), mean=mean)
    q = replace(q, std=torch.ones(1000, 4), log_std=torch.zeros(1000, 4))
    rows = units(gaussian_kl(q), q.mean)
    assert [unit["dimension"] for unit in rows] == [0, 1, 2, 3]
    assert [unit["variance_of_mean"] for unit in rows] == [0, 0.334, 0.0097, 0]
    active = [unit["variance_of_mean"] > ACTIVE_VARIANCE for unit in rows]
    assert active == [False, True, False, False]
    assert [unit["kl"] for unit in rows] == [0, 0.167, 0.0048, 12.5]


@pytest.mark.parametrize(
    ("images", "draws"),
    [(300, 8), (100, 100), pytest.param(100, 150, marks=pytest.mark.slow)],
)
def test_the_spread_is_what_repeated_draws_show(images, draws):
    """Of bounds with many groups, and of those with one group of all the draws or of some."""
    model, pixels = small_vae().float(), prepared(images).pixels
    results = [
        evaluate(model, pixels, 1, draws, torch.Generator().manual_seed(seed)) for seed in range(40)
    ]
    single = evaluate(model, pixels, 1, 1, torch.Generator())
    assert single.spread(single.bounds[0]) is None
    for number, bound in enumerate(results[0].bounds):
        values = [its.bounds[number].mean().mean() for its in results]
        said = [its.spread(its.bounds[number]) for its in results]
        assert sum(said) / 40 == pytest.approx(torch.stack(values).std().item(), rel=0.3), bound.k
