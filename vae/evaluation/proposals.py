"""Better proposals for the importance-weighted bound than the encoder's posterior.

An encoder has one map for all images, and training has it cover less than the true posterior does
(Cremer et al. 2018, arXiv:1801.03558). The bound holds for every proposal that does not depend on
the bound's own noise, and is the tighter the nearer the proposal is.
"""

import torch
from torch import Tensor

from vae.model.densities import Gaussian, exp
from vae.model.objectives import log_weights
from vae.model.posteriors import Density
from vae.model.vae import VAE

LEARNING_RATE = 0.03  # at first; it falls to zero in a straight line


def refined(model: VAE, x: Tensor, q: Density, steps: int, stream: torch.Generator) -> Density:
    """q after so many steps of Adam on each image's own mean and log std, for its ELBO.

    x [N, 784] in {0, 1}; q has the parts [N, ...]. The gradient is that of `stl`
    (vae/model/objectives.py). A flow stays as it is, and so does the model.
    """
    mean, log_std = (part.detach().clone() for part in (q.gaussian.mean, q.gaussian.log_std))
    optimizer = torch.optim.Adam([mean, log_std], lr=LEARNING_RATE, betas=(0.9, 0.99), fused=True)
    with torch.enable_grad():
        mean.requires_grad_()
        log_std.requires_grad_()
        for step in range(steps):
            q = q.around(Gaussian(mean, exp(log_std), log_std))
            z = q.draw(torch.randn(mean.shape, device=x.device, generator=stream))
            log_likelihood, kl = log_weights(model, x, q.detach(), z)
            negative_elbo = (kl - log_likelihood).sum()
            mean.grad, log_std.grad = torch.autograd.grad(negative_elbo, [mean, log_std])
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
            optimizer.step()
    mean, log_std = mean.detach(), log_std.detach()
    return q.around(Gaussian(mean, exp(log_std), log_std))
