"""Groups of latents that are inferred from the top down."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from tests.models import architecture, prepared, random_images, small_vae
from vae import VAE
from vae.evaluation.bounds import evaluate
from vae.model.architecture import Architecture
from vae.model.densities import gaussian_kl

double = torch.float64
TOP, ABOVE, ALL = 3, 3 + 4, 3 + 4 + 16  # latents of one, of two and of all three groups


def ladder() -> VAE:
    return small_vae(posterior="ladder")


def linear_ladder() -> VAE:
    """Its factors' means are linear in the latents above, and their stds do not depend on them: all
    units of its ReLUs are active.
    """
    model = ladder()
    for name, parameter in model.decoder.named_parameters():
        if "posterior.0.weight" in name:
            parameter.data *= 0.02
        for layer, bias in ("latents.0", 100), ("latents.2", 1000), ("doubled.0", 4000):
            if name.endswith(f"{layer}.bias"):
                parameter.data.fill_(bias)
        if name.endswith("posterior.0.bias"):
            parameter.data.fill_(100)
    for group in model.decoder.steps[1:]:
        *_, last = group.posterior
        last.weight.data[1:] = 0
        last.bias.data = -100 * last.weight.data.sum((1, 2, 3)) + torch.tensor([0.5, -1.0]).double()
    return model


def test_of_two_linear_gaussian_levels_density_and_kl_are_the_closed_forms():
    model, x = linear_ladder(), random_images(1)
    q = model.posterior(x)
    zeros = torch.zeros(1, ALL, dtype=double)
    mean = q.draw(zeros)[0].detach()
    moves = torch.autograd.functional.jacobian(lambda noise: q.draw(noise[None])[0], zeros[0])
    assert moves[TOP:, :TOP].abs().max() > 0.01  # the second level follows the first
    joint = MultivariateNormal(mean, moves @ moves.T)
    z = q.draw(torch.randn(4_000, 1, ALL, dtype=double))
    log_q = q.log_prob(z)[:, 0] - ALL / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(log_q, joint.log_prob(z[:, 0]))
    prior = MultivariateNormal(torch.zeros(ALL, dtype=double), torch.eye(ALL, dtype=double))
    kl = model.prior.kl(q, z)[:, 0]  # of each factor exactly, given the draws above it
    exact = torch.distributions.kl_divergence(joint, prior)
    assert (kl.mean() - exact).abs() < 5 * kl.std() / math.sqrt(len(kl))
    assert kl.std() < (log_q - prior.log_prob(z[:, 0])).std() / 2  # than without the closed form


def test_its_density_is_that_of_its_draws_by_the_change_of_variables():
    q, noise = ladder().posterior(random_images(1)), torch.randn(ALL, dtype=double)
    moves = torch.autograd.functional.jacobian(lambda noise: q.draw(noise[None])[0], noise)
    log_q = -0.5 * noise.square().sum() - moves.det().abs().log()
    torch.testing.assert_close(q.log_prob(q.draw(noise[None]))[0], log_q)


def test_a_group_depends_on_those_above_it_alone():
    q, z = ladder().posterior(random_images(3)), torch.randn(3, ALL, dtype=double)
    before, moved = q.conditional(z).mean, z.clone()
    moved[:, ABOVE:] += 1
    assert torch.equal(before, q.conditional(moved).mean)
    moved[:, :ABOVE] += 1
    after = q.conditional(moved).mean
    assert torch.equal(before[:, :TOP], after[:, :TOP])
    assert not torch.allclose(before[:, TOP:ABOVE], after[:, TOP:ABOVE])
    assert not torch.allclose(before[:, ABOVE:], after[:, ABOVE:])


def test_what_a_draw_knows_is_what_its_latents_give():
    q = ladder().posterior(random_images(3))
    z = q.draw(torch.randn(2, 3, ALL, dtype=double))
    for mine, its in zip(*(vars(q.conditional(v)).values() for v in (z, z.clone())), strict=True):
        torch.testing.assert_close(mine, its)
    constant = q.detach()
    torch.testing.assert_close(constant.log_prob(z), q.log_prob(z))
    assert not constant.log_prob(z.detach()).requires_grad


def test_at_first_it_is_the_prior():
    """All groups but the one at the top."""
    q = VAE(architecture("levels")).posterior(random_images(5).float())
    assert gaussian_kl(q.conditional(torch.randn(5, ALL)))[:, TOP:].abs().max() == 0


def test_two_ladders_bound_the_same_likelihood():
    """Of one decoder: a posterior with random weights, and the one that is the prior."""
    model, pixels = small_vae(0.7, posterior="ladder").float(), prepared(4).pixels
    results = [evaluate(model, pixels, 20, 400, torch.Generator().manual_seed(0))]
    for name, parameter in model.named_parameters():
        if "posterior.2" in name:  # means and stds
            parameter.data.zero_()
    results.append(evaluate(model, pixels, 20, 400, torch.Generator().manual_seed(0)))
    bounds = [its.log_likelihood.mean().item() for its in results]
    spread = max(its.spread(its.bounds[-1]) for its in results)
    assert bounds[0] == pytest.approx(bounds[1], abs=4 * spread)
    elbos = [its.elbo.mean().item() for its in results]
    assert elbos[1] > elbos[0] + 4 * spread


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"latent_dim": 20}, "'ladder', and a model.latent_dim above 20"),
        ({"classes": 10}, "takes no classes"),
        ({"shape": (1, 10, 8)}, "10×8 pixels: their sides should be multiples of 4"),
        *(
            ({"posterior": "gaussian", "latent_dim": size}, "it needs model.posterior = 'ladder'")
            for size in (43, 100)  # of the last, the encoder gives as much as of a ladder's 25
        ),
        ({"network": "mlp", "settings": {}}, "'ladder' needs model.network = 'levels'"),
        ({"settings": {"groups": [1]}}, r"groups = \[1\]: should be two numbers"),
    ],
)
def test_what_does_not_go_together_is_refused(parts, words):
    settings = {"groups": [1, 1], "channels": 4}
    its = {"network": "levels", "settings": settings, "posterior": "ladder", "latent_dim": ALL}
    with pytest.raises(ValueError, match=words):
        VAE(Architecture(**{"shape": (1, 8, 8)} | its | parts))
