"""Small models and images for the tests of the mathematics."""

import torch

from vae import VAE
from vae.images import Images
from vae.model import POSTERIORS
from vae.model.architecture import Architecture
from vae.model.likelihoods import Bernoulli, Logistic
from vae.training.run import Run
from vae.training.settings import Settings

SETTINGS = {
    "mlp": {"hidden_dims": [20, 20], "residual": True},
    "conv": {"channels": 2},
    "levels": {"groups": [1, 1], "channels": 4},
}


FLAT = [name for name in POSTERIORS if name != "ladder"]  # which takes any network but `levels`


def architecture(network: str = "mlp", **parts) -> Architecture:
    if network == "levels" or parts.get("posterior") == "ladder":  # none without the other
        network = "levels"
        _, height, width = parts.get("shape", (1, 8, 8))
        parts |= {"posterior": "ladder", "latent_dim": 3 + 5 * height * width // 16}
    small = {"shape": (1, 8, 8), "latent_dim": 3, "settings": SETTINGS.get(network, {})}
    return Architecture(network=network, **(small | parts))


def small_vae(spread: float = 1.5, **parts) -> VAE:
    """A VAE in double precision with random weights, `spread` times as large as usual."""
    torch.manual_seed(0)
    model = VAE(architecture(**parts)).double()
    with torch.no_grad():
        for parameter in [*model.encoder.parameters(), *model.decoder.parameters()]:
            parameter *= spread
        for name, parameter in model.named_parameters():  # a flow is the identity at first
            if "head." in name or "posterior." in name:
                parameter += 0.3 * torch.randn_like(parameter)
    return model


def prepared(count: int, shape: tuple[int, int, int] = (1, 8, 8), levels: int = 2) -> Images:
    """Images as the stage `prepare` writes them."""
    uniform = torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))
    pixels = (uniform < 0.3) if levels == 2 else 256 * uniform
    labels = torch.arange(count) % 10
    binarization = "threshold 128" if levels == 2 else "none"
    return Images(pixels.byte(), labels.byte(), levels, False, "MNIST", binarization)


def random_images(count: int, **kind) -> torch.Tensor:
    """What a model takes: double, in [0, 1]."""
    images = prepared(count, **kind)
    return images.pixels.double() / (images.levels - 1)


def new_run(train: Images, model: dict | None = None, **settings) -> Run:
    """Of a small model. KL weight 1, as in all of Settings' defaults."""
    likelihood = next(kind for kind in (Bernoulli, Logistic) if kind.levels == train.levels)
    parts = {"shape": train.shape, "likelihood": likelihood.__name__.lower()} | (model or {})
    return Run.new(architecture(**parts), Settings(**settings), train)
