"""Gradients of the bounds that training maximizes, by hand: autograd would double the time of a
small step. tests/test_training_step.py and tests/test_objective.py hold them against autograd's.
"""

import torch
from torch import Tensor

from stages.densities import bernoulli_and_gradient, gaussian_kl, normalized
from stages.vae import VAE


def elbo_gradient(model: VAE, x: Tensor, noise: Tensor, kl_weight: float) -> tuple[Tensor, Tensor]:
    """The exact KL's `elbo_terms`, for the standard prior, and the gradient of the mean of
    kl_weight·KL − reconstruction over the images.

    The gradient overwrites the `.grad` of every parameter. `FlatAdam` has prepared the model.
    """
    heads, encoder_kept = model.encoder.forward_keeping(x)
    mean, std, log_std = model.posterior(heads)
    deviation = std * noise
    logits, decoder_kept = model.decoder.forward_keeping(mean + deviation)
    reconstruction, residual = bernoulli_and_gradient(x, logits)

    per_image = 1 / len(x)
    by_z = model.decoder.backward(decoder_kept, residual.mul_(-per_image), to_input=True)
    by_mean = torch.add(by_z, mean, alpha=kl_weight * per_image)
    by_log_std = torch.add(by_z * deviation, std.square() - 1, alpha=kl_weight * per_image)
    model.encoder.backward(
        encoder_kept, model.by_heads(mean, std, by_mean, by_log_std), to_input=False
    )
    return reconstruction, gaussian_kl(mean, std, log_std)


def bound_gradient(
    model: VAE, x: Tensor, noise: Tensor, kl_weight: float, estimator: str
) -> tuple[Tensor, Tensor]:
    """Means over K draws of log p(x|z) and of log q(z|x)/p(z), [N] each, and the gradient of minus
    the importance-weighted bound of the K draws, averaged over the images; overwrites `.grad`.

    x [N, 784], noise [K, N, latent]. kl_weight multiplies log p(z)/q(z|x): 1 if K > 1. The
    encoder's gradient has one of three `estimator`s, all with the same mean:
    reparameterized (Burda et al. 2016, eq. 13), stl, without the score's term of mean zero
    (Roeder et al. 2017, arXiv:1703.09194; K = 1), dreg, its unbiased form for K > 1 (Tucker et al.
    2018, arXiv:1810.04152, eq. 8).
    """
    heads, encoder_kept = model.encoder.forward_keeping(x)
    mean, std, log_std = model.posterior(heads)
    deviation = std * noise
    z = mean + deviation  # [K, N, latent]
    logits, decoder_kept = model.decoder.forward_keeping(z.flatten(0, 1))
    reconstruction, residual = bernoulli_and_gradient(x, logits.view(len(z), *x.shape))
    log_prior, prior_backward = model.prior.log_prob_with_gradient(z)
    log_ratio = log_prior + (0.5 * noise.square() + log_std).sum(-1)  # log p(z)/q(z|x)

    weights = normalized(reconstruction + kl_weight * log_ratio)  # [K, N]
    scale = weights / -len(x)  # of each log weight's gradient
    residual = residual.mul_(scale.unsqueeze(-1)).flatten(0, 1)
    by_z = model.decoder.backward(decoder_kept, residual, to_input=True).view_as(z)
    by_z += prior_backward(kl_weight * scale)
    if estimator != "reparameterized":
        by_z += kl_weight * scale.unsqueeze(-1) * noise / std  # −log q's by z alone
    if estimator == "dreg":
        by_z *= weights.unsqueeze(-1)
    by_log_std = (by_z * deviation).sum(0)
    if estimator == "reparameterized":
        by_log_std -= kl_weight / len(x)  # −log q is log std + ½ noise²
    model.encoder.backward(
        encoder_kept, model.by_heads(mean, std, by_z.sum(0), by_log_std), to_input=False
    )
    return reconstruction.mean(0), -log_ratio.mean(0)
