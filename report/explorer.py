"""What the page needs to run the decoder, and latents to start from."""

import math
from collections.abc import Sequence

import torch

from report.program import in_base64, program
from vae.common.runtime import generator
from vae.data.images import Images
from vae.model.vae import VAE

DRAWS = 200  # of the prior
REACH = 3.0  # of a slider, at least: standard deviations of the standard prior


def explorer(model: VAE, test: Images, kl: Sequence[float], seed: int) -> dict:
    """For explorer.js: the decoder's `program`; `draws` [DRAWS, latent] of the model's prior;
    `classes`, by label, the posterior's center [latent] of the first test image of that class.
    These are base64. `order` has the dimensions by their `kl` [latent], largest first; `reach` is
    where the sliders end. Raises CannotRun if the page cannot run the decoder.
    """
    latent = model.architecture.latent_dim
    with torch.no_grad():
        random = generator("cpu", seed, "report")
        noise = torch.randn(DRAWS, latent, generator=random)
        draws = model.prior.sample(noise, torch.rand(DRAWS, generator=random))
        pixels = test.binary(generator("cpu", seed, "test pixels"))
        labels = test.labels.tolist()
        first = {label: labels.index(label) for label in sorted(set(labels))}
        means = model.encode(pixels[list(first.values())]).center
    farthest = max(draws.abs().max().item(), means.abs().max().item())
    return {
        "program": program(model.decoder, latent),
        "latent": latent,
        "kl": list(kl),
        "order": sorted(range(latent), key=lambda dimension: -kl[dimension]),
        "reach": max(REACH, math.ceil(2 * farthest) / 2),
        "draws": in_base64(draws),
        "classes": {label: in_base64(mean) for label, mean in zip(first, means, strict=True)},
    }
