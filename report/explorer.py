"""What the page needs to run the decoder by itself, and latents to start from."""

import base64
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stages.dataset import Images
from stages.runtime import generator
from stages.vae import VAE

DRAWS = 200  # of the prior
REACH = 3.0  # of a slider, at least: standard deviations of the standard prior


def explorer(model: VAE, test: Images, kl: Sequence[float], seed: int) -> dict:
    """For explorer.js. Numbers of many as base64 of little-endian float32: each layer's weight
    [out, in] and bias [out]; `draws` [DRAWS, latent] of the model's prior; `digits`, by label, the
    posterior mean [latent] of the first test image of that class. `order` has the dimensions by
    their `kl` [latent], largest first; `reach` is where the sliders end.
    """
    latent = model.architecture.latent_dim
    with torch.no_grad():
        random = generator("cpu", seed, "report")
        noise = torch.randn(DRAWS, latent, generator=random)
        draws = model.prior.sample(noise, torch.rand(DRAWS, generator=random))
        pixels = test.binary(generator("cpu", seed, "test pixels"))
        labels = test.labels.tolist()
        first = {label: labels.index(label) for label in sorted(set(labels))}
        means = model.encode(pixels[list(first.values())])[0]
    farthest = max(draws.abs().max().item(), means.abs().max().item())
    linears = list(model.decoder)[::2]
    return {
        "layers": [
            {"weight": _base64(linear.weight), "bias": _base64(linear.bias), "skips": skips}
            for linear, skips in zip(linears, model.decoder.skips, strict=True)
        ],
        "latent": latent,
        "kl": list(kl),
        "order": sorted(range(latent), key=lambda dimension: -kl[dimension]),
        "reach": max(REACH, math.ceil(2 * farthest) / 2),
        "draws": _base64(draws),
        "digits": {label: _base64(mean) for label, mean in zip(first, means, strict=True)},
    }


def _base64(tensor: Tensor) -> str:
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()
