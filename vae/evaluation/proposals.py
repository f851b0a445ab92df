"""Better proposals for the importance-weighted bound than the encoder's posterior.

One encoder serves all images, so its posterior fits no single image perfectly (Cremer et al. 2018,
arXiv:1801.03558). The bound holds for every proposal that does not depend on the bound's own noise,
and it is tighter if the proposal is closer to the true posterior.
"""

import torch
from torch import Tensor

from vae.model.densities import Density, Gaussian
from vae.model.vae import VAE
from vae.numerics import exp
from vae.training.optimizer import AdamW

LEARNING_RATE = 0.03  # at first; it falls to zero in a straight line


def refined(model: VAE, x: Tensor, q: Density, steps: int, stream: torch.Generator) -> Density:
    """Improves q by `steps` steps of Adam on the mean and log std of each image, which maximize its
    ELBO.

    x is [N, C, H, W] in [0, 1]; the parts of q are [N, ...]. The gradient is the estimator `stl`
    (vae/model/objectives.py). The flow and the model do not change.
    """
    mean, log_std = (part.detach().clone() for part in (q.gaussian.mean, q.gaussian.log_std))
    optimizer = AdamW({"mean": mean, "log_std": log_std}, beta2=0.99)
    with torch.enable_grad():
        mean.requires_grad_()
        log_std.requires_grad_()
        for step in range(steps):
            q = q.around(Gaussian(mean, exp(log_std), log_std))
            z = q.draw(torch.randn(mean.shape, device=x.device, generator=stream))
            log_likelihood, kl = model.log_weights(x, q.detach(), z)
            negative_elbo = (kl - log_likelihood).sum()
            mean.grad, log_std.grad = torch.autograd.grad(negative_elbo, [mean, log_std])
            optimizer.step(LEARNING_RATE * (1 - step / steps))
    mean, log_std = mean.detach(), log_std.detach()
    return q.around(Gaussian(mean, exp(log_std), log_std))
