"""What the page needs to run the decoder, and latents to start from."""

import math
from collections.abc import Sequence

import torch

from report.program import CannotRun, in_base64, program
from vae.errors import in_short
from vae.images import Images
from vae.model.likelihoods import Bernoulli, Likelihood, Logistic
from vae.model.vae import VAE
from vae.numerics import generator

DRAWS = 200  # how many draws of the prior the page holds
REACH = 3.0  # a slider reaches so many standard deviations, at least


def explorer(model: VAE, test: Images, kl: Sequence[float], seed: int) -> dict:
    """For explorer.js: the `shape` of an image; the decoder's `program`, and the `likelihood` that
    turns its outputs into the mean image; `draws` of the model's prior, [DRAWS, latent]; `classes`,
    by label, the posterior's center [latent] of the first test image of that class. The last two
    are base64. `order` has the dimensions by their `kl` [latent], largest first; `reach` is where
    the sliders end. In a conditional model, all latents are [latent + given]: they have a number
    for each class. Raises CannotRun if the page cannot run the decoder or the likelihood, or if the
    encoder takes more than images, or if the latents stand in groups.
    """
    if len(model.groups) > 1:
        raise CannotRun("its latents stand in groups, and a single one of them shows little")
    latent = model.architecture.latent_dim
    with torch.no_grad():
        random = generator("cpu", seed, "report")
        noise = torch.randn(DRAWS, latent, generator=random)
        draws = model.prior.sample(noise, torch.rand(DRAWS, generator=random))
        if model.classes:
            draws = model.with_classes(draws, torch.arange(DRAWS) % model.classes.count)
        pixels = test.drawn(generator("cpu", seed, "test pixels"))
        labels = test.labels.tolist()
        first = {label: labels.index(label) for label in sorted(set(labels))}
        try:
            chosen = list(first.values())
            given = test.labels[chosen] if model.classes else None
            means = model.encode(pixels[chosen], given).center
        except Exception as error:  # whatever the network's own code raises
            raise CannotRun(
                f"its encoder does not take images alone ({in_short(error)})"
            ) from error
        means = model.with_classes(means, test.labels[chosen])
    farthest = max(draws.abs().max().item(), means.abs().max().item())
    return {
        "shape": model.architecture.shape,
        "program": program(model.decoder, model.decoded),
        "likelihood": mean(model.likelihood),
        "latent": latent,
        "given": model.architecture.classes,
        "kl": list(kl),
        "order": sorted(range(latent), key=lambda dimension: -kl[dimension]),
        "reach": max(REACH, math.ceil(2 * farthest) / 2),
        "draws": in_base64(draws),
        "classes": {label: in_base64(mean) for label, mean in zip(first, means, strict=True)},
    }


def mean(likelihood: Likelihood) -> dict:
    """The name of its mean in likelihoods.js, and the numbers that it depends on. Raises CannotRun
    if there is none.
    """
    if type(likelihood) is Bernoulli:
        return {"name": "bernoulli"}
    if type(likelihood) is Logistic:
        _, centres, _ = likelihood._parts(torch.zeros(likelihood.outputs, 1, 1))
        return {
            "name": "logistic",
            "centres": centres.flatten().tolist(),  # the components' locations
            "first": likelihood.FIRST,
            "log_scales": likelihood.LOG_SCALES,
        }
    raise CannotRun(f"the page does not know its likelihood {type(likelihood).__name__}")
