"""Measures the model on the test images.

Writes metrics/test.json, plots/reconstructions.png and plots/latent.png.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import trange

from stages.dataset import blocks, load_images
from stages.errors import run_stage
from stages.files import write_json
from stages.params import load_params
from stages.pictures import save_grid, save_latent_map
from stages.runtime import generator, start
from stages.statistics import mean_and_stderr
from stages.threads import adapt_threads
from stages.vae import VAE, gaussian_kl, log_add_exp, log_likelihood, log_weight

ACTIVE_VARIANCE = 0.01
PICTURED = 12  # reconstructions shown


@dataclass(frozen=True)
class Evaluation:
    """Of each image, in nats: [N]; and the posterior means [N, latent]."""

    reconstruction: Tensor  # mean of log p(x|z) over the draws
    kl: Tensor
    log_likelihood: Tensor  # the importance-weighted bound
    means: Tensor


@torch.no_grad()
def evaluate(
    model: VAE,
    pixels: Tensor,
    elbo_samples: int,
    importance_samples: int,
    stream: torch.Generator,
) -> Evaluation:
    """pixels [N, 784] in {0, 1}, on the model's device.

    Each image is encoded once, and nothing but sums is kept of the draws. The noise of a draw is
    drawn for all images together, so that the size of a block does not matter.
    """
    pixel_blocks = blocks(pixels.float())  # once: to convert at each draw costs 5% of its time
    adapt_threads(len(pixel_blocks[-1]))
    posteriors = [model.encode(block) for block in pixel_blocks]
    mean, std, log_std = (torch.cat(parts) for parts in zip(*posteriors, strict=True))

    def over_blocks(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        noise = torch.randn(mean.shape, device=mean.device, generator=stream)
        adapt_threads(len(pixel_blocks[-1]))
        return torch.cat([
            function(model, block, *values)
            for block, *values in zip(pixel_blocks, *map(blocks, (*inputs, noise)), strict=True)
        ]).double()  # fmt: skip

    reconstruction = torch.zeros(len(pixels), dtype=torch.float64, device=mean.device)
    for _ in trange(elbo_samples, desc="ELBO", unit="draw", leave=False, disable=None):
        reconstruction += over_blocks(log_likelihood, mean, std) / elbo_samples
    total_weight = torch.full_like(reconstruction, -math.inf)
    for _ in trange(importance_samples, desc="bound", unit="draw", leave=False, disable=None):
        weight = over_blocks(log_weight, mean, std, log_std)
        total_weight = log_add_exp(total_weight, weight)
    kl = gaussian_kl(mean, std, log_std).double()
    return Evaluation(reconstruction, kl, total_weight - math.log(importance_samples), mean)


def active_units(means: Tensor) -> int:
    """Latent dimensions that the data moves: variance of the posterior mean over images above 0.01
    (Burda et al. 2016, section 5.2). means [N, latent].
    """
    means = means.double()
    return int(((means - means.mean(0)).square().mean(0) > ACTIVE_VARIANCE).sum())


def main() -> None:
    params = load_params().evaluate
    device = start(params.device, "evaluate.device")
    test = load_images("data/test.safetensors")
    model = VAE.load("models/vae.safetensors", device)

    result = evaluate(
        model, test.pixels.to(device), params.elbo_samples, params.importance_samples,
        generator(device, params.seed, "evaluation"),
    )  # fmt: skip
    elbo, elbo_stderr = mean_and_stderr(result.reconstruction - result.kl)
    log_likelihood, log_likelihood_stderr = mean_and_stderr(result.log_likelihood)
    metrics = {
        "elbo": elbo,
        "elbo_stderr": elbo_stderr,
        "reconstruction": mean_and_stderr(result.reconstruction)[0],
        "kl": mean_and_stderr(result.kl)[0],
        "log_likelihood": log_likelihood,
        "log_likelihood_stderr": log_likelihood_stderr,
        "importance_samples": params.importance_samples,
        "active_units": active_units(result.means),
    }
    write_json("metrics/test.json", metrics)
    print(f"test ELBO {elbo:.2f} ± {elbo_stderr:.2f} nats, "
          f"log p(x) ≥ {log_likelihood:.2f} ± {log_likelihood_stderr:.2f}")  # fmt: skip

    originals = test.pixels[:PICTURED].unflatten(1, (28, 28)).float()
    adapt_threads(PICTURED)
    with torch.no_grad():
        reconstructions = model.reconstruct(originals.to(device)).cpu()
    save_grid(
        "plots/reconstructions.png", torch.cat([originals, reconstructions]).numpy(), PICTURED,
        f"Test images and their reconstructions, test ELBO {elbo:.1f} nats",
        row_labels=["image", "at the\nposterior\nmean"],
    )  # fmt: skip
    save_latent_map("plots/latent.png", result.means.cpu().numpy(), test.labels.numpy())


if __name__ == "__main__":
    run_stage(main)
