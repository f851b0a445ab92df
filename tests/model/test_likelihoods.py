"""Likelihoods are distributions over the levels of a pixel, and all their methods say the same."""

import math
from dataclasses import replace
from pkgutil import resolve_name

import pytest
import torch

from tests.models import prepared
from vae.model import LIKELIHOODS
from vae.model.likelihoods import Bernoulli, Likelihood, Logistic

ALL = {name: resolve_name(its)() for name, its in LIKELIHOODS.items()}
each_likelihood = pytest.mark.parametrize("likelihood", ALL.values(), ids=ALL)
double = torch.float64


def outputs_of(likelihood: Likelihood, spread: float, dtype=double) -> torch.Tensor:
    """Outputs for 60 images of a pixel."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(60, 1, likelihood.outputs, 1, 1, dtype=double, generator=generator)
    return (spread * normal).to(dtype)


def levels(likelihood: Likelihood, dtype=double) -> torch.Tensor:
    """An image of a pixel for each level."""
    return torch.linspace(0, 1, likelihood.levels, dtype=dtype).view(-1, 1, 1, 1)


@each_likelihood
@pytest.mark.parametrize("spread", [0, 5, 100, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, double])
def test_masses_sum_to_one_with_their_mean_and_finite_gradients(likelihood, spread, dtype):
    outputs = outputs_of(likelihood, spread, dtype).requires_grad_()
    logs = likelihood.log_prob(levels(likelihood, dtype), outputs)  # [60, levels]
    assert logs.isfinite().all()
    masses, x = logs.detach().double().exp(), levels(likelihood).flatten()
    error = 1e-10 if dtype == double else 3e-5  # in single, terms of hundreds of nats are rounded
    torch.testing.assert_close(masses.sum(1), torch.ones(60, dtype=double), rtol=0, atol=error)
    mean = likelihood.mean(outputs)
    assert mean.shape == (60, 1, 1, 1, 1)
    half = 0.5 / 255 if likelihood.levels > 2 else 1e-6
    assert ((masses * x).sum(1) - mean.detach().flatten()).abs().max() < half
    (slope,) = torch.autograd.grad(logs.sum() + mean.sum(), outputs)
    assert slope.isfinite().all()


@each_likelihood
@pytest.mark.parametrize("spread", [0, 5])
def test_draws_have_the_frequencies_of_the_masses(likelihood, spread):
    count, outputs = 5_000, outputs_of(likelihood, spread)
    masses = likelihood.log_prob(levels(likelihood), outputs).exp()
    stream = torch.Generator().manual_seed(0)
    drawn = likelihood.draw(outputs.expand(-1, count, -1, -1, -1), stream)
    assert drawn.shape == (60, count, 1, 1, 1)
    level = (drawn.flatten(1) * (likelihood.levels - 1)).round().long()
    torch.testing.assert_close(
        levels(likelihood).flatten()[level].to(drawn.dtype), drawn.flatten(1)
    )
    frequencies = torch.stack([its.bincount(minlength=likelihood.levels) for its in level]) / count
    error = (masses * (1 - masses) / count).sqrt()
    # A rare level's number is Poisson's: a few draws more than expected are no surprise.
    assert ((frequencies - masses).abs() < 5 * error + 5 / count).all()
    assert (frequencies.cumsum(1) - masses.cumsum(1)).abs().max() < 2.5 / math.sqrt(count)


def test_a_mean_image_has_no_pixel_above_1():
    mean = Logistic().mean(outputs_of(Logistic(), 30, torch.float32).expand(-1, 3, -1, 4, 4))
    assert mean.max() == 1


@pytest.mark.parametrize("intensities", [False, True])
def test_bernoullis_bias_is_how_often_a_pixel_is_set(intensities):
    images = prepared(200, (1, 2, 2))
    top = 255 if intensities else 1
    images.pixels[:] = top * torch.tensor([[0, 1], [0, 0]])
    images.pixels[:50, 0, 0, 0] = top
    bias = Bernoulli().bias(replace(images, intensities=intensities))
    expected = torch.tensor([[[50.5, 200.5], [0.5, 0.5]]]) / 201
    torch.testing.assert_close(bias.sigmoid(), expected)


def test_logistics_bias_has_the_shares_of_the_fifths_as_weights():
    images = prepared(300, (3, 2, 2), levels=256)
    images.pixels[:, 0] //= 4
    images.pixels[:, 1] = 255
    images.pixels[:100, 1] = 51
    weights, *others = Logistic().bias(images).view(3, 5, 3, 2, 2)
    assert not any(its.any() for its in others)
    fifths = (images.pixels / 51.2).long()
    counts = torch.stack([(fifths == fifth).sum(0) for fifth in range(5)])
    torch.testing.assert_close(weights.softmax(0), (counts + 0.5) / 302.5)
