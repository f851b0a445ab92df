"""The ELBO and the importance-weighted bound on log p(x): training maximizes them, evaluation
measures them.

These are pure functions of tensors, in nats per image; higher is better. Training takes the
gradient by `loss(...).backward()`, and evaluation calls the same `elbo_terms` and `log_weights`.

x is [N, 784] in {0, 1}; q is q(z|x), each part [N, latent]; z are draws of it, [..., N, latent].
"""

from typing import TYPE_CHECKING

from torch import Tensor

from vae.model.densities import Density, bernoulli, log_mean_exp, normalized

if TYPE_CHECKING:
    from vae.model.vae import VAE


def elbo_terms(model: "VAE", x: Tensor, q: Density, z: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts of the ELBO: log p(x|z) at the draws, and the KL of q to the prior, [..., N] each.

    ELBO = reconstruction − KL (Kingma & Welling 2014, arXiv:1312.6114, eq. 3). The KL is exact
    where the prior has it in closed form, and else log q(z|x) − log p(z) at the draws.
    """
    return bernoulli(x, model.decode(z)), model.prior.kl(q, z)


def log_weights(model: "VAE", x: Tensor, q: Density, z: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts of log w = log p(x|z) − log q(z|x)/p(z) at the draws, [..., N] each.

    The logarithm of the mean of K weights is the bound L_K of Burda, Grosse & Salakhutdinov 2016
    (arXiv:1509.00519, eq. 8): the ELBO in expectation at K = 1, growing with K towards log p(x).
    """
    return bernoulli(x, model.decode(z)), q.log_prob(z) - model.prior.log_prob(z)


def loss(
    model: "VAE", x: Tensor, noise: Tensor, kl_weight: float, gradient: str
) -> tuple[Tensor, Tensor, Tensor]:
    """→ the loss, which is minus the bound of K draws, averaged over the images; and the two parts
    of the bound, reconstruction and KL, averaged over the draws, [N] each and without kl_weight.

    noise [K, N, latent] is N(0, 1) and independent throughout. kl_weight multiplies the KL and has
    to be 1 if K > 1. `gradient` names the estimator of the encoder's gradient. All estimators have
    the same mean: `reparameterized` (Burda et al., eq. 13); `stl`, for K = 1, which leaves out the
    score, a term of mean zero (Roeder et al. 2017, arXiv:1703.09194); `dreg`, its form for K > 1
    (Tucker et al. 2018, arXiv:1810.04152, eq. 8).
    """
    q = model.posterior(x)
    z = q.draw(noise)
    if len(noise) == 1 and gradient == "reparameterized":
        reconstruction, kl = elbo_terms(model, x, q, z)
    else:
        density = q if gradient == "reparameterized" else q.detach()  # no score
        reconstruction, kl = log_weights(model, x, density, z)
    log_w = reconstruction - kl_weight * kl
    if gradient == "dreg":
        weights = normalized(log_w.detach()).unsqueeze(-1)
        z.register_hook(lambda grad_z: grad_z * weights)
    bound = log_mean_exp(log_w)
    return -bound.mean(), reconstruction.detach().mean(0), kl.detach().mean(0)
