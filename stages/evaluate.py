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
from stages.densities import log_add_exp
from stages.errors import UserError, run_stage
from stages.files import write_csv, write_json
from stages.params import load_params
from stages.pictures import save_grid, save_latent_map
from stages.runtime import generator, start
from stages.statistics import mean_and_stderr
from stages.threads import adapt_threads
from stages.vae import PIXELS, VAE, elbo_terms, log_weight

ACTIVE_VARIANCE = 0.01
REPORTED = 1, 10, 100, 1000  # the k of the bounds, besides evaluate.importance_samples
SPLITS = "train", "validation", "test"
COMPARED = 5000  # images of each split
PICTURED = 12  # reconstructions shown


class Bound:
    """The importance-weighted bound L_k as its draws come in: a mean over groups of k draws."""

    def __init__(self, k: int, images: int, device: torch.device):
        self.k, self.draws = k, 0
        self.group = torch.full((images,), -math.inf, dtype=torch.float64, device=device)
        self.total, self.square = torch.zeros(2, images).to(self.group)

    def add(self, log_weight: Tensor) -> None:
        self.group = log_add_exp(self.group, log_weight)
        self.draws += 1
        if self.draws % self.k == 0:
            value = self.group - math.log(self.k)
            self.total += value
            self.square += value.square()
            self.group = torch.full_like(value, -math.inf)

    @property
    def groups(self) -> int:
        return self.draws // self.k

    def mean(self) -> Tensor:
        """[N], over the groups that are complete."""
        return self.total / self.groups

    def variance(self) -> Tensor:
        """Of `mean` over other draws, [N], from how the groups differ; there must be several."""
        return (self.square / self.groups - self.mean().square()) / (self.groups - 1)


@dataclass(frozen=True)
class Evaluation:
    """Of each image, in nats: [N]; and its posterior, [N, latent]."""

    reconstruction: Tensor  # mean of log p(x|z) over the draws
    kl: Tensor
    bounds: list[Bound]  # ascending in k; the last is of all draws, one group
    effective_samples: Tensor  # (Σ w)² / Σ w² of all draws' weights
    posterior: tuple[Tensor, Tensor, Tensor]  # mean, std, log std

    @property
    def log_likelihood(self) -> Tensor:
        return self.bounds[-1].mean()

    def spread(self, bound: Bound) -> float:
        """Standard deviation, over other draws, of the bound's mean over the images.

        The logarithm of a mean of k weights has the variance 1/effective_samples − 1/k (delta
        method); of a bound with several groups it is seen in their differences.
        """
        if bound.groups > 1:
            variance = bound.variance()
        else:
            variance = 1 / self.effective_samples - 1 / bound.k
        return round(math.sqrt(math.fsum(variance.clamp(min=0).tolist())) / len(variance), 4)


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
    posterior = tuple(map(torch.cat, zip(*posteriors, strict=True)))

    def draw(function: Callable[..., Tensor]) -> Tensor:
        """`function`, elbo_terms or log_weight, of all images at one draw of z."""
        shape = len(pixels), model.architecture.latent_dim
        noise = torch.randn(shape, device=pixels.device, generator=stream)
        adapt_threads(len(pixel_blocks[-1]))
        parts = zip(pixel_blocks, *map(blocks, (*posterior, noise)), strict=True)
        return torch.cat([function(model, *part) for part in parts], -1).double()

    reconstruction, kl = torch.zeros(2, len(pixels), dtype=torch.float64, device=pixels.device)
    for _ in trange(elbo_samples, desc="ELBO", unit="draw", leave=False, disable=None):
        at_draw = draw(elbo_terms)
        reconstruction += at_draw[0] / elbo_samples
        kl += at_draw[1] / elbo_samples

    sizes = [k for k in REPORTED if k < importance_samples] + [importance_samples]
    bounds = [Bound(k, len(pixels), pixels.device) for k in sizes]
    squares = Bound(importance_samples, len(pixels), pixels.device)
    for _ in trange(importance_samples, desc="bound", unit="draw", leave=False, disable=None):
        weight = draw(log_weight)
        for bound in bounds:
            bound.add(weight)
        squares.add(2 * weight)
    log_effective = 2 * bounds[-1].mean() - squares.mean() + math.log(importance_samples)
    return Evaluation(reconstruction, kl, bounds, log_effective.exp(), posterior)


def units(mean: Tensor, std: Tensor, log_std: Tensor) -> list[dict[str, float]]:
    """What each latent dimension carries, from the posteriors [N, latent] of N images: the mean KL
    of its posterior to N(0, 1), and the variance of its posterior mean over the images.

    Under a learned prior the KLs do not add up to the model's.
    """
    kl = 0.5 * (mean.square() + std.square() - 1) - log_std
    return [
        {
            "dimension": dimension,
            "kl": mean_and_stderr(kl[:, dimension])[0],
            "variance_of_mean": round(mean[:, dimension].double().var(correction=0).item(), 4),
        }
        for dimension in range(mean.shape[1])
    ]


def active_units(means: Tensor) -> int:
    """Latent dimensions that the data moves: variance of the posterior mean over images above 0.01
    (Burda et al. 2016, section 5.2). means [N, latent].
    """
    means = means.double()
    return int(((means - means.mean(0)).square().mean(0) > ACTIVE_VARIANCE).sum())


def in_numbers(result: Evaluation) -> dict[str, float]:
    """Means over the images and their standard errors, in nats an image."""
    elbo, elbo_stderr = mean_and_stderr(result.reconstruction - result.kl)
    bound, bound_stderr = mean_and_stderr(result.log_likelihood)
    return {
        "elbo": elbo,
        "elbo_stderr": elbo_stderr,
        "reconstruction": mean_and_stderr(result.reconstruction)[0],
        "kl": mean_and_stderr(result.kl)[0],
        "log_likelihood": bound,
        "log_likelihood_stderr": bound_stderr,
        "importance_samples": result.bounds[-1].k,
    }


def main() -> None:
    params = load_params().evaluate
    device = start(params.device, "evaluate.device")
    splits = {name: load_images(f"data/{name}.safetensors") for name in SPLITS}
    model = VAE.load("models/vae.safetensors", device)
    for name, images in splits.items():
        if images.binarization != model.binarization:
            raise UserError(
                f"data/{name}.safetensors is binarized as {images.binarization!r}, the model was "
                f"trained on {model.binarization!r}: their numbers mean different things.\n"
                f"Make both again: dvc repro"
            )

    def measured(name: str, images: int, importance_samples: int) -> Evaluation:
        """Of so many of the split's images, taken evenly: MNIST's first test images are harder."""
        pixels = splits[name].binary(generator("cpu", params.seed, f"{name} pixels"))
        pixels = pixels[:: max(1, len(pixels) // images)][:images].to(device)
        stream = generator(device, params.seed, f"{name} evaluation")
        return evaluate(model, pixels, params.elbo_samples, importance_samples, stream)

    few = min(params.importance_samples, 100)
    compared = {name: in_numbers(measured(name, COMPARED, few)) for name in SPLITS}
    write_json("metrics/splits.json", compared)

    test = splits["test"]
    result = measured("test", len(test.pixels), params.importance_samples)
    numbers = in_numbers(result)
    metrics = numbers | {
        "log_likelihood_spread": result.spread(result.bounds[-1]),
        "effective_samples": round(result.effective_samples.median().item(), 1),
        "bits_per_dimension": round(-numbers["log_likelihood"] / (PIXELS * math.log(2)), 4),
        "active_units": active_units(result.posterior[0]),
        "binarization": model.binarization,
    }
    write_json("metrics/test.json", metrics)
    print(f"test ELBO {metrics['elbo']:.2f} ± {metrics['elbo_stderr']:.2f} nats, log p(x) ≥ "
          f"{metrics['log_likelihood']:.2f} ± {metrics['log_likelihood_stderr']:.2f}")  # fmt: skip
    rows = []
    for bound in result.bounds:
        value, stderr = mean_and_stderr(bound.mean())
        spread = result.spread(bound)
        rows.append({"k": bound.k, "bound": value, "stderr": stderr, "spread": spread})
    write_csv("plots/bounds.csv", rows)
    write_csv("plots/units.csv", units(*result.posterior))

    originals = test.pixels[:PICTURED].unflatten(1, (28, 28)).float()
    adapt_threads(PICTURED)
    with torch.no_grad():
        reconstructions = model.reconstruct(originals.to(device)).cpu()
    save_grid(
        "plots/reconstructions.png", torch.cat([originals, reconstructions]).numpy(), PICTURED,
        f"Test images and their reconstructions, test ELBO {metrics['elbo']:.1f} nats",
        row_labels=["image", "at the\nposterior\nmean"],
    )  # fmt: skip
    means = result.posterior[0].cpu().numpy()
    save_latent_map("plots/latent.png", means, test.labels.numpy())


if __name__ == "__main__":
    run_stage(main)
