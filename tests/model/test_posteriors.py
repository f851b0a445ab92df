"""The density and the moments of the flow posterior are those of its draws."""

import torch

from tests.models import random_images, small_vae


@torch.no_grad()
def test_the_flow_is_undone_and_its_moments_are_those_of_its_draws():
    q = small_vae(posterior="flow").posterior(random_images(4))
    u = q.gaussian.draw(torch.randn(20_000, 4, 3, dtype=torch.float64))
    z = q.flow.bend(u, q.context)
    torch.testing.assert_close(q.flow(z, q.context)[0], u)
    assert (z - u).abs().mean() > 0.1  # it is not the identity
    moments = q.moments(torch.Generator().manual_seed(0))  # of 100 draws
    error = z.std(0) / 10
    assert ((moments.mean - z.mean(0)).abs() < 5 * error).all()
    assert (moments.std / z.std(0) - 1).abs().max() < 0.5
    torch.testing.assert_close(moments.std.log(), moments.log_std)


def test_a_detached_density_gives_its_parameters_no_gradient():
    model, x = small_vae(posterior="flow"), random_images(4)
    q = model.posterior(x)
    z = q.draw(torch.randn(2, 4, 3, dtype=torch.float64)).detach().requires_grad_()
    torch.testing.assert_close(q.detach().log_prob(z), q.log_prob(z))
    q.detach().log_prob(z).sum().backward()
    assert z.grad.abs().min() > 0
    assert all(parameter.grad is None for parameter in model.parameters())
