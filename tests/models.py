"""Small models and images for the tests of the mathematics."""

from dataclasses import replace

import torch
import yaml

from tests.project import committed
from vae import VAE
from vae.common.params import Params
from vae.data.images import Images
from vae.model.architecture import PIXELS, POSTERIORS, Architecture

__all__ = ["POSTERIORS", "params", "prepared", "random_images", "small_vae"]
SMALL = Architecture((20, 10), 3, "gaussian", channels=2)


def small_vae(spread: float = 1.5, **architecture) -> VAE:
    """A VAE in double precision with random weights, `spread` times as large as usual."""
    torch.manual_seed(0)
    model = VAE(replace(SMALL, **architecture)).double()
    with torch.no_grad():
        for parameter in [*model.encoder.parameters(), *model.decoder.parameters()]:
            parameter *= spread
        for parameter in model.head.parameters():  # a flow is the identity at first
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def random_images(count: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, PIXELS, generator=generator) < 0.3).double()


def prepared(count: int) -> Images:
    """Images as the stage `prepare` writes them."""
    labels = torch.arange(count, dtype=torch.uint8) % 10
    return Images(random_images(count).to(torch.uint8), labels, False, "MNIST", "threshold 128")


def params(model: dict | None = None, **train) -> Params:
    """The defaults of params.yaml with a small model and the given changes."""
    content = yaml.safe_load(committed("params.yaml"))
    content["model"] |= {"hidden_dims": [20, 10], "latent_dim": 3, "channels": 2} | (model or {})
    content["train"] |= train
    return Params.model_validate(content)
