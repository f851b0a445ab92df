"""What training maximizes. Each objective is a function of `Terms`; it gives nats for each
image, [N], or one number for all. Higher is better.

`bound` is the evidence lower bound for one draw, and the importance-weighted bound for several.
Training takes the gradient by `loss(...).backward()`. Evaluation measures the same terms,
`VAE.elbo_terms` and `VAE.log_weights`, whatever the objective was.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vae.errors import Refusal
from vae.model.densities import Density
from vae.model.vae import VAE
from vae.numerics import log_mean_exp, softmax

FREE = 2.0  # nats of each group, to the objective `free_groups`


@dataclass(frozen=True)
class Terms:
    """What an objective sees: N images with K draws each."""

    model: VAE
    x: Tensor  # as VAE.posterior takes it: in a conditional model with the classes
    q: Density  # q(z|x)
    z: Tensor  # the draws, [K, N, latent]
    reconstruction: Tensor  # log p(x|z), [K, N]
    kl: Tensor  # KL of q to the prior, [K, N]: at the draws, or exact if K = 1 and without stl
    kl_weight: float  # train.kl_weight
    progress: Tensor  # the share of training that is done, 0 to 1, of no dimensions

    @property
    def kl_of_dimensions(self) -> Tensor | None:
        """[..., N, latent], or None, as the prior gives it."""
        return self.model.prior.kl_of_dimensions(self.q, self.z)


def bound(t: Terms) -> Tensor:
    """L_K = log 1/K Σ_k p(x|z_k) p(z_k)/q(z_k|x), [N] (Burda, Grosse & Salakhutdinov 2016,
    arXiv:1509.00519, eq. 8).

    At K = 1 it is the ELBO, reconstruction − KL (Kingma & Welling 2014, arXiv:1312.6114, eq. 3),
    with the KL times kl_weight (Higgins et al. 2017). With K it grows towards log p(x).
    """
    return log_mean_exp(t.reconstruction - t.kl_weight * t.kl)


def free_groups(t: Terms) -> Tensor:
    """The ELBO, in which a group of latents costs FREE nats if it says less than that, as a mean
    over the images: so it may as well say something, and none dies while the others learn (free
    bits: Kingma et al. 2016, arXiv:1606.04934, eq. 15).
    """
    kl = t.kl_of_dimensions
    if kl is None:
        raise Refusal(
            "train.objective = 'free_groups' needs the KL of each dimension in closed form; set "
            "model.prior to standard, and model.posterior to ladder, gaussian or bounded"
        )
    of_groups = torch.stack([its.sum(-1).mean() for its in kl.split(t.model.groups, -1)])
    return t.reconstruction.mean() - t.kl_weight * of_groups.clamp(min=FREE).sum()


def loss(
    model: VAE,
    x: Tensor,
    noise: Tensor,
    progress: Tensor,
    objective: Callable[[Terms], Tensor] = bound,
    kl_weight: float = 1.0,
    gradient: str = "reparameterized",
) -> tuple[Tensor, Tensor]:
    """→ minus the objective, averaged over the images; and reconstruction and KL, averaged over the
    draws, [2, N], without kl_weight and without a gradient.

    x [N, C, H, W]; noise [K, N, latent] is N(0, 1) and independent throughout. kl_weight has to be
    1 if K > 1. `gradient` names the estimator of the encoder's gradient. All have the same mean:
    `reparameterized` (Burda et al., eq. 13); `stl`, for K = 1, which leaves out the score, a term
    of mean zero (Roeder et al. 2017, arXiv:1703.09194); `dreg`, its form for the bound of K > 1
    (Tucker et al. 2018, arXiv:1810.04152, eq. 8).
    """
    q = model.posterior(x)
    z = q.draw(noise)
    if gradient == "dreg":
        z = z.clone()  # so that a ladder decodes from these, whose gradient is weighed below
    if len(noise) == 1 and gradient == "reparameterized":
        reconstruction, kl = model.elbo_terms(x, q, z)
    else:
        density = q if gradient == "reparameterized" else q.detach()  # no score
        reconstruction, kl = model.log_weights(x, density, z)
    if gradient == "dreg":
        weights = softmax((reconstruction - kl).detach()).unsqueeze(-1)
        z.register_hook(lambda grad_z: grad_z * weights)
    value = objective(Terms(model, x, q, z, reconstruction, kl, kl_weight, progress))
    return -value.mean(), torch.stack([reconstruction.detach(), kl.detach()]).mean(1)
