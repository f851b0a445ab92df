"""The step by hand is the step of the loss function, and of torch's Adam."""

import pytest
import torch
import torch.nn.functional as F

from stages.densities import gaussian_kl
from stages.gradients import elbo_gradient
from stages.mlp import FlatAdam
from stages.vae import VAE, Architecture, elbo_terms
from tests.models import POSTERIORS, encode, random_images, small_vae


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_gradient_by_hand_is_the_loss_function_s(posterior):
    model, x = small_vae(posterior), random_images(7)
    noise = torch.randn(7, 3, dtype=torch.float64)
    mean, std, log_std = encode(model, x)
    logits = model.decode(mean + std * noise)
    reconstruction = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
    (2.5 * gaussian_kl(mean, std, log_std) - reconstruction).mean().backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    optimizer = FlatAdam(model)
    with torch.no_grad():
        terms = elbo_gradient(model, x, noise, 2.5)
    torch.testing.assert_close(optimizer.gradient, expected, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(terms[0], reconstruction.detach())


@pytest.mark.parametrize("residual", [False, True])
@torch.no_grad()
def test_a_gradient_in_bfloat16_is_float32s_but_for_its_rounding(residual):
    x, gradients = random_images(200).float(), []
    noise = torch.randn(200, 3)
    for precision in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        model = VAE(Architecture((40, 40), 3, "gaussian", residual=residual))
        optimizer = FlatAdam(model, precision)
        for _ in range(2):  # the second time with other weights
            reconstruction, _ = elbo_gradient(model, x, noise, 1.0)
            optimizer.vector.mul_(0.9)
        assert reconstruction.dtype == torch.float32
        gradients.append(optimizer.gradient)
    error = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert 0 < error < 0.02


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_flat_adam_is_torchs_and_shrinks_matrices_only(decay):
    torch.manual_seed(0)
    ours = VAE(Architecture((5,), 2, "gaussian", prior="mixture"))
    reference = VAE(ours.architecture)
    reference.load_state_dict(ours.state_dict())
    flat = FlatAdam(ours, weight_decay=decay)
    named = dict(reference.named_parameters())
    matrices = [f"{part}.{layer}.weight" for part in ("encoder", "decoder") for layer in (0, 2)]
    others = [parameter for name, parameter in named.items() if name not in matrices]
    adam = torch.optim.AdamW(
        [{"params": [named[name] for name in matrices], "weight_decay": decay},
         {"params": others, "weight_decay": 0.0}],
        lr=0.01,
    )  # fmt: skip
    for _ in range(20):
        for mine, its in zip(ours.parameters(), reference.parameters(), strict=True):
            mine.grad.normal_()
            its.grad = mine.grad.clone()
        flat.step(0.01)
        adam.step()
    for mine, its in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, its)


@torch.no_grad()
def test_reported_elbo_has_kl_weight_one_whatever_was_trained():
    model, x = small_vae().float(), random_images(5).float()
    FlatAdam(model)
    noise = torch.randn(5, 3)
    terms = elbo_terms(model, x, *model.encode(x), noise)
    for weight in (0.0, 1.0, 5.0):
        for reported, expected in zip(elbo_gradient(model, x, noise, weight), terms, strict=True):
            torch.testing.assert_close(reported, expected)
