"""The ELBO of a model at rest, as training reports it: one draw an image."""

import torch
from torch import Tensor

from vae.images import blocks
from vae.model.vae import VAE
from vae.numerics import mean


@torch.no_grad()
def elbo_at_rest(model: VAE, pixels: Tensor, noise: Tensor) -> Tensor:
    """pixels: levels, uint8 [N, C, H, W]; noise [N, latent] → reconstruction and KL, [2, N]."""
    model.eval()
    terms = []
    of_pixels, of_noise = (blocks(its, model.numbers) for its in (pixels, noise))
    for block, eps in zip(of_pixels, of_noise, strict=True):
        x = model.scaled(block)
        q = model.posterior(x)
        terms.append(torch.stack(model.elbo_terms(x, q, q.draw(eps))))
    return torch.cat(terms, dim=1)


def summarize(reconstruction: Tensor, kl: Tensor) -> dict[str, float]:
    """The means over images, in nats per image."""
    terms = {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
    return {name: mean(values) for name, values in terms.items()}
