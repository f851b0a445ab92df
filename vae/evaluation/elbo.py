"""The ELBO of a model at rest, as training reports it: one draw an image."""

import torch
from torch import Tensor

from vae.common.statistics import mean_and_stderr
from vae.common.threads import adapt_threads
from vae.data.images import blocks
from vae.model.objectives import elbo_terms
from vae.model.vae import VAE


@torch.no_grad()
def elbo_at_rest(model: VAE, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """images [N, 784] in {0, 1}, noise [N, latent] → reconstruction [N] and KL [N] in nats."""
    model.eval()
    terms = []
    for block, eps in zip(blocks(images), blocks(noise), strict=True):
        adapt_threads(len(block))
        x = block.float()
        q = model.posterior(x)
        terms.append(torch.stack(elbo_terms(model, x, q, q.draw(eps))))
    reconstruction, kl = torch.cat(terms, dim=1)
    return reconstruction, kl


def summarize(reconstruction: Tensor, kl: Tensor) -> dict[str, float]:
    """The means over images, in nats per image."""
    terms = {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
    return {name: mean_and_stderr(values)[0] for name, values in terms.items()}
