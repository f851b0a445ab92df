"""The bounds: every number is the quantity its name says."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from tests.models import POSTERIORS, params, random_images, small_vae
from vae import VAE
from vae.common.statistics import mean_and_stderr
from vae.evaluation.bounds import active_units, evaluate
from vae.model.architecture import PIXELS
from vae.model.objectives import elbo_terms, log_weights
from vae.training.loop import train_epoch
from vae.training.optimizer import AdamW
from vae.training.run import Run


def one_dimensional(posterior: str = "gaussian") -> VAE:
    """A model whose posterior is near the true one, so that weights vary little."""
    model = small_vae(posterior=posterior, latent_dim=1)
    for weights in [model.decoder[-1].weight, *model.head.parameters()]:
        weights.data *= 0.3
    return model


def quadrature(model: VAE, x: torch.Tensor, points: int = 4001):
    """ELBO and log p(x) of a VAE with one latent dimension, by the trapezoidal rule."""
    z = torch.linspace(-12, 12, points, dtype=torch.float64).unsqueeze(1)
    log_likelihood = -F.binary_cross_entropy_with_logits(
        model.decode(z).unsqueeze(1).expand(-1, len(x), -1),
        x.expand(points, -1, -1), reduction="none",
    ).sum(-1)  # fmt: skip  # [points, N]
    q = model.posterior(x)
    log_prior = torch.distributions.Normal(0, 1).log_prob(z)
    log_posterior = q.log_prob(z.unsqueeze(1).expand(-1, len(x), -1)) - 0.5 * math.log(2 * math.pi)
    step = 24 / (points - 1)
    torch.testing.assert_close(log_posterior.exp().sum(0) * step, torch.ones(len(x)).double())
    elbo = (log_posterior.exp() * (log_likelihood + log_prior - log_posterior)).sum(0) * step
    log_p = (log_likelihood + log_prior).logsumexp(0) + math.log(step)
    return elbo, log_p


@pytest.mark.parametrize("posterior", POSTERIORS)
@torch.no_grad()
def test_elbo_and_bound_agree_with_quadrature(posterior):
    model, x = one_dimensional(posterior), random_images(3)
    elbo, log_p = quadrature(model, x)
    assert (log_p > elbo).all()
    count = 8_000
    many = x.repeat_interleave(count, 0)
    noise = torch.randn(len(many), 1, dtype=torch.float64)
    q = model.posterior(many)

    reconstruction, kl = elbo_terms(model, many, q, q.draw(noise))
    draws = (reconstruction - kl).view(3, count)
    stderr = draws.std(1) / math.sqrt(count)
    assert ((draws.mean(1) - elbo).abs() < 5 * stderr).all()

    reconstruction, kl = log_weights(model, many, q, q.draw(noise))
    log_w = (reconstruction - kl).view(3, count)
    weights = (log_w - log_p.unsqueeze(1)).exp()  # their mean over all draws is exactly 1
    stderr = weights.std(1) / math.sqrt(count)
    assert (stderr < 0.1).all()
    assert ((weights.mean(1) - 1).abs() < 5 * stderr).all()

    bounds = [log_w.view(3, -1, k).logsumexp(2) - math.log(k) for k in (1, 10, 100, 1000)]
    for lower, higher in pairwise(bounds):
        assert (lower.mean(1) < higher.mean(1)).all()
    stderr = bounds[-1].std(1) / math.sqrt(bounds[-1].shape[1])
    assert (bounds[-1].mean(1) < log_p + 5 * stderr).all()
    assert (log_p - bounds[-1].mean(1) < 0.1 * (log_p - elbo) + 5 * stderr).all()


def noise_of_evaluation(model: VAE) -> None:
    evaluate(model, torch.zeros(500, PIXELS), 200, 1, torch.Generator().manual_seed(0))


def noise_of_training(model: VAE) -> None:
    settings = params(batch_size=500, learning_rate=1e-30).train
    run = Run(settings, model, AdamW(model, 0.0), {}, {}, [])
    train_epoch(run, torch.zeros(200 * 500, PIXELS), torch.Generator().manual_seed(0), 1)


@pytest.mark.parametrize("stage", [noise_of_evaluation, noise_of_training])
def test_noise_is_independent_over_images_and_dimensions(monkeypatch, stage):
    """The original had one noise scalar an image. The latents that the decoder gets show it."""
    model, latents = small_vae(latent_dim=4).float(), []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda z: latents.append(z.detach()) or decode(z))
    stage(model)
    # The image is the same throughout: all variation is the noise's.
    z = torch.stack([its.view(500, 4) for its in latents[:200]])  # [draws, images, latent]
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
        monkeypatch.setattr("vae.data.images.BLOCK", block)
        results.append(evaluate(model, x, 3, 5, torch.Generator().manual_seed(0)))
    for name in "reconstruction", "kl", "log_likelihood", "effective_samples":
        whole, in_parts = (getattr(result, name) for result in results)
        torch.testing.assert_close(whole, in_parts, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_evaluation_gives_the_elbo_and_a_bound_above_it():
    model, x = one_dimensional(), random_images(20)
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


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_refined_proposals_raise_the_bound_and_leave_the_elbo(posterior):
    model, x = small_vae(posterior=posterior).float(), random_images(50).float()
    for parameter in model.head.parameters():
        parameter.data *= 0.2
    results = [evaluate(model, x, 3, 10, torch.Generator().manual_seed(0), s) for s in (0, 100)]
    assert torch.equal(results[0].kl, results[1].kl)
    assert torch.equal(results[0].reconstruction, results[1].reconstruction)
    bounds = [result.log_likelihood.mean() for result in results]
    assert bounds[1] > bounds[0] + 0.2
