"""Small models and images for the tests of the mathematics."""

import torch

from stages.vae import PIXELS, VAE, Architecture

POSTERIORS = ["bounded", "gaussian"]


def small_vae(posterior: str = "gaussian", latent_dim: int = 3, spread: float = 1.0) -> VAE:
    """A VAE with random weights in double precision; `spread` scales what z does to the pixels."""
    torch.manual_seed(0)
    model = VAE(Architecture([20, 10], latent_dim, posterior)).double()
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    model.decoder[-1].weight.data.mul_(spread)
    return model


def random_images(count: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, PIXELS, generator=generator) < 0.3).double()


def encode(model: VAE, x: torch.Tensor):
    return model.posterior(model.encoder(x))  # `encode` would make floats of the doubles
